/** Everything around the open conversation: list, search, live changes, shortcuts, temporary chats, the drawer. */

import * as api from "./api.js";
import { ChangeFeed } from "./changes.js";
import { byId } from "./dom.js";
import { createDrawer } from "./drawer.js";
import * as router from "./router.js";
import { openSearch } from "./search.js";
import { openSettings } from "./settings.js";
import { openShare } from "./share.js";
import { installShortcuts, openSheet } from "./shortcuts.js";
import { ConversationList } from "./sidebar.js";
import { bindTemporary } from "./temporary.js";
import { toast, undoLatest } from "./toast.js";
import { openExport } from "./transfer.js";

export class Frame {
  /** @param {import("./state.js").Store<any>} store */
  constructor(store) {
    this.store = store;
    this.drawer = createDrawer();
    this.list = new ConversationList(byId("pg-list"), store, {
      open: (id) => this.open(id),
      toast,
      renamed: ({ id, title }) => store.get().conversationId === id && store.set({ title }),
      share: (item) => this.over(() => openShare(item)),
      exported: (item) => this.over(() => openExport(item)),
      look: () => this.feed.tell(),
    });
    this.feed = new ChangeFeed(store, {
      changed: (items, removed) => this.changed(items, removed),
      reload: () => this.reload(),
      recovered: () => this.recovered(),
    });
    api.onWrite(() => this.feed.tell());
  }

  /**
   * @param {{chat: any, composer: any}} parts
   */
  connect({ chat, composer }) {
    this.chat = chat;
    this.composer = composer;
    byId("pg-new").addEventListener("click", (event) => {
      if (!router.isPlainClick(event)) return;
      event.preventDefault();
      this.open(null);
    });
    byId("pg-new-top").addEventListener("click", () => this.open(null));
    byId("pg-search").addEventListener("click", () => this.search());
    byId("pg-keys").addEventListener("click", () => this.over(openSheet));
    router.onNavigate((id) => {
      this.store.set({ temporary: false });
      chat.open(id);
    });
    bindTemporary(this.store, { open: (id, temporary) => this.open(id, { temporary }), toast });
    installShortcuts({
      search: () => this.search(),
      fresh: () => this.open(null),
      above: () => this.list.step(-1),
      below: () => this.list.step(1),
      sidebar: () => this.drawer.toggle(),
      settings: () => this.over(openSettings),
      undo: undoLatest,
      compose: () => composer.focus(),
      sheet: () => this.over(openSheet),
      escape: () => this.drawer.close() || (Boolean(this.store.get().running) && (chat.stop(), true)),
    });
  }

  /** The conversations, and from then on what changes. What is asked first is not missed by what is asked second. */
  async start() {
    await this.feed.look();
    await this.list.more();
  }

  /**
   * @param {string|null} id
   * @param {{temporary?: boolean, hit?: {message: string, kind: string}|null}} [how] `hit` is what to show in it
   */
  open(id, { temporary = false, hit = null } = {}) {
    this.drawer.leave();
    this.store.set({ temporary: id === null && temporary });
    this.chat.open(id, true, hit ?? undefined);
    if (!hit) this.composer.focus();
  }

  /** What lies over the page opens when the drawer, which sets the page aside on a phone, is closed. */
  over(open) {
    this.drawer.leave();
    open();
  }

  search() {
    this.over(() => openSearch({ open: (id, hit) => this.open(id, { hit }), latest: () => this.list.latest() }));
  }

  changed(items, removed) {
    this.list.take(items, removed);
    const open = this.store.get().conversationId;
    const conversation = items.find(({ id }) => id === open);
    if (conversation) this.chat.changed(conversation);
    else if (removed.includes(open)) this.chat.removed();
  }

  async reload() {
    await this.list.reload();
    await this.chat.refresh();
  }

  recovered() {
    this.list.retry();
    if (this.store.get().view === "error") this.chat.reload();
  }
}
