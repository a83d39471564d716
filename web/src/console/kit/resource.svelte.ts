/** Something fetched for a component: its value, whether it is being loaded, what went wrong. */

import { untrack } from "svelte";
import { ApiProblem } from "../../api/problem";
import { onChange } from "../live.svelte";

export interface ResourceOptions {
  /** Kinds of live changes after which it is fetched again. */
  live?: readonly string[] | undefined;
  /** Fetch again after so many seconds while the tab is seen; for what no event tells. */
  every?: number | undefined;
  /** At least so many seconds between two live reloads: for answers that cost the server something. */
  rest?: number | undefined;
}

/**
 * Made in a component's script. `fetch` runs again when something reactive changes that it reads
 * before its first `await`. The old value stays while a new one is being loaded.
 */
export class Resource<T> {
  value = $state.raw<T | undefined>(undefined);
  problem = $state.raw<ApiProblem | null>(null);
  loading = $state(true);
  private run: AbortController | null = null;

  constructor(
    private readonly fetch: (signal: AbortSignal) => Promise<T>,
    options: ResourceOptions = {},
  ) {
    $effect(() => {
      void this.reload();
      return () => this.run?.abort();
    });
    const { live, every, rest = 0 } = options;
    if (live) $effect(() => this.follow(live, rest * 1000));
    if (every) {
      $effect(() => {
        const timer = setInterval(() => {
          this.look();
        }, every * 1000);
        return () => clearInterval(timer);
      });
    }
  }

  private follow(kinds: readonly string[], rest: number): () => void {
    let last = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = () => {
      timer = undefined;
      last = Date.now();
      void untrack(() => this.reload());
    };
    const stop = onChange(kinds, () => {
      timer ??= setTimeout(again, Math.max(0, last + rest - Date.now()));
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }

  /** Fetches again unless that is under way or nobody looks: what polls must not cut off a slow answer each time. */
  look(): void {
    if (!document.hidden && !untrack(() => this.loading)) void untrack(() => this.reload());
  }

  /** Fetches again; never throws. */
  async reload(): Promise<void> {
    this.run?.abort();
    const run = new AbortController();
    this.run = run;
    let promise: Promise<T>;
    try {
      promise = this.fetch(run.signal);
    } catch (cause) {
      promise = Promise.reject(cause as Error);
    }
    this.loading = true;
    try {
      const value = await promise;
      if (run.signal.aborted) return;
      this.value = value;
      this.problem = null;
    } catch (cause) {
      if (run.signal.aborted || (cause instanceof DOMException && cause.name === "AbortError")) return;
      if (!(cause instanceof ApiProblem)) throw cause;
      this.problem = cause;
    } finally {
      if (!run.signal.aborted) this.loading = false;
    }
  }
}
