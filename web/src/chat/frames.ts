/**
 * Gathers events and hands them over once per animation frame: a fast engine sends more often than
 * a screen can show. A hidden tab has no frames, so a timer takes over there.
 */
export interface FrameClock {
  hidden: () => boolean;
  nextFrame: (action: () => void) => void;
  later: (action: () => void) => void;
}

export class FrameBatch<T> {
  private waiting: T[] = [];
  private scheduled = false;

  constructor(
    private readonly clock: FrameClock,
    private readonly deliver: (items: T[]) => void,
  ) {}

  add(item: T): void {
    this.waiting.push(item);
    if (this.scheduled) return;
    this.scheduled = true;
    const flush = () => this.flush();
    if (this.clock.hidden()) this.clock.later(flush);
    else this.clock.nextFrame(flush);
  }

  flush(): void {
    this.scheduled = false;
    const items = this.waiting;
    this.waiting = [];
    if (items.length > 0) this.deliver(items);
  }
}

export const browserFrames: FrameClock = {
  hidden: () => document.hidden,
  nextFrame: (action) => {
    // A tab hidden between the two would never get its frame: the timer is the safety net.
    let done = false;
    const once = () => {
      if (done) return;
      done = true;
      action();
    };
    requestAnimationFrame(once);
    setTimeout(once, 250);
  },
  later: (action) => void setTimeout(action, 200),
};
