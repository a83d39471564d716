/** Where the focus goes when what had it is gone: a reader by keyboard or ear must not begin at the browser's bar. */

/** To the page, unless something of it took the focus by itself; `up` also scrolls to its beginning. */
export function returnFocus(up: boolean): void {
  requestAnimationFrame(() => {
    const main = document.getElementById("main");
    if (up) main?.scrollTo(0, 0);
    if (document.activeElement === document.body) main?.focus({ preventScroll: true });
  });
}

/** The heading in sight. Another one without another address (the key is made): what was pressed is gone. */
class Heading {
  private last = "";

  show(title: string): void {
    if (this.last !== "" && this.last !== title) returnFocus(false);
    this.last = title;
  }
}

export const heading = new Heading();
