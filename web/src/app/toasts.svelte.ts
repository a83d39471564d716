/** Short notices at the page's edge: what was done, with a way to undo it, or what failed. */

export interface Toast {
  id: number;
  text: string;
  tone: "plain" | "danger";
  action?: { label: string; run: () => void };
}

class Toasts {
  list = $state<Toast[]>([]);
  private next = 1;

  show(text: string, options: { tone?: Toast["tone"]; action?: Toast["action"]; seconds?: number } = {}): number {
    const toast: Toast = { id: this.next++, text, tone: options.tone ?? "plain" };
    if (options.action) toast.action = options.action;
    this.list = [...this.list.slice(-2), toast];
    setTimeout(() => this.dismiss(toast.id), (options.seconds ?? (options.action ? 6 : 4)) * 1000);
    return toast.id;
  }

  dismiss(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
