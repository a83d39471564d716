/** Who must be asked before the page is left: forms with unsaved changes. */

type Guard = () => boolean;

class Guards {
  /** A question that stands: what goes on when the answer is "leave". */
  asked = $state.raw<{ leave: () => void } | null>(null);
  private readonly guards = new Set<Guard>();

  constructor() {
    addEventListener("beforeunload", (event) => {
      if (this.holding) event.preventDefault();
    });
  }

  get holding(): boolean {
    return [...this.guards].some((guard) => guard());
  }

  /** Registers a guard that tells whether something would be lost; returns how to take it back. */
  add(guard: Guard): () => void {
    this.guards.add(guard);
    return () => this.guards.delete(guard);
  }

  /** Runs `leave` at once when nothing would be lost, else after the person said so. */
  ask(leave: () => void): void {
    if (this.holding) this.asked = { leave };
    else leave();
  }

  answer(leave: boolean): void {
    const { asked } = this;
    this.asked = null;
    if (leave) asked?.leave();
  }
}

export const guards = new Guards();
