/** Stay at the end while the user is there; otherwise leave the position alone and offer a way back. */

const NEAR = 48;

export class Follower {
  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} content
   * @param {HTMLElement} button "jump to latest"
   */
  constructor(scroller, content, button) {
    this.scroller = scroller;
    this.button = button;
    this.following = true;
    this.lastTop = 0;
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
    const up = this.scroller.scrollTop < this.lastTop - 1;
    this.lastTop = this.scroller.scrollTop;
    if (this.distance() <= NEAR) this.following = !up || this.distance() <= 1;
    else if (up) this.following = false;
    this.offer();
  }

  keep() {
    if (this.following) this.jump();
    this.offer();
  }

  jump() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.lastTop = this.scroller.scrollTop;
  }

  toEnd() {
    this.following = true;
    this.jump();
    this.offer();
  }

  offer() {
    this.button.hidden = this.following || this.distance() <= NEAR;
  }
}
