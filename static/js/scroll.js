/**
 * Stay at the end while the user is there; otherwise keep what is read at its place, whatever grows or is drawn above
 * it, and offer a way back. (The browsers' own scroll anchoring is not in all of them, and knows nothing of a list of
 * which only a part is drawn.)
 */

const NEAR = 48;
const DEEP = 8;

export class Follower {
  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} content
   * @param {HTMLElement} button "jump to latest"
   */
  constructor(scroller, content, button) {
    this.scroller = scroller;
    this.content = content;
    this.button = button;
    this.following = true;
    this.lastTop = 0;
    /** @type {{node: Element, top: number}|null} */
    this.anchor = null;
    scroller.addEventListener("scroll", () => this.moved(), { passive: true });
    scroller.addEventListener("wheel", (event) => event.deltaY < 0 && this.leave(), { passive: true });
    button.addEventListener("click", () => this.toEnd());
    const resized = new ResizeObserver(() => this.keep());
    resized.observe(content);
    resized.observe(scroller);
  }

  distance() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  leave() {
    if (this.distance() > 0 || this.scroller.scrollHeight > this.scroller.clientHeight) this.following = false;
  }

  moved() {
    const top = this.scroller.scrollTop;
    const up = top < this.lastTop - 1;
    this.lastTop = top;
    if (this.distance() <= NEAR) this.following = !up || this.distance() <= 1;
    else if (up) this.following = false;
    this.hold();
    this.offer();
  }

  /** Remember what stands at the top of the view. @param {Element} [node] this one instead */
  hold(node) {
    const found = this.following ? null : (node ?? this.atTop());
    this.anchor = found && { node: found, top: found.getBoundingClientRect().top };
  }

  /** @returns {Element|null} the innermost block that reaches below the upper edge of the view */
  atTop() {
    const edge = this.scroller.getBoundingClientRect().top + 4;
    let node = this.content;
    for (let depth = 0; depth < DEEP; depth += 1) {
      const next = firstBelow(node.children, edge);
      if (!next) break;
      node = next;
    }
    return node === this.content ? null : node;
  }

  /** After a change: the end again, or what was remembered where it was. */
  keep() {
    if (this.following) this.jump();
    else if (this.anchor?.node.isConnected) {
      const moved = this.anchor.node.getBoundingClientRect().top - this.anchor.top;
      if (Math.abs(moved) >= 1) this.place(this.scroller.scrollTop + moved);
    } else this.hold();
    this.offer();
  }

  place(top) {
    this.scroller.scrollTop = top;
    this.lastTop = this.scroller.scrollTop;
  }

  jump() {
    this.place(this.scroller.scrollHeight);
  }

  toEnd() {
    this.following = true;
    this.anchor = null;
    this.jump();
    this.offer();
  }

  /** Bring a node into the view, a little below its upper edge, and stay there. @param {Element} node */
  show(node) {
    this.following = false;
    const room = Math.min(96, this.scroller.clientHeight / 4);
    const from = this.scroller.getBoundingClientRect().top;
    this.place(this.scroller.scrollTop + node.getBoundingClientRect().top - from - room);
    this.hold(node);
    this.offer();
  }

  offer() {
    this.button.hidden = this.following || this.distance() <= NEAR;
  }
}

/** The first of these blocks, which stand below each other, that ends below the edge. */
function firstBelow(children, edge) {
  let low = 0;
  let high = children.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (children[middle].getBoundingClientRect().bottom > edge) high = middle;
    else low = middle + 1;
  }
  const found = children[low];
  return found?.getClientRects().length ? found : null;
}
