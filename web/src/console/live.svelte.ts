/**
 * What changes on the server reaches the page that shows it: one stream of change events for the
 * scope. Events say that something changed, never what; pages fetch again. Read by `fetch` and not by
 * `EventSource`, because the tenant travels in a header. A hidden tab lets go of the stream after a
 * while (a browser has few connections to one host) and catches up when it is seen again.
 */

import { api, inScope } from "./api/client";
import { ApiProblem } from "../api/problem";
import { router } from "./router.svelte";
import { session } from "./session.svelte";
import { EventReader, liveDelay } from "./sse";

export interface Change {
  kind: string;
  id: string;
  tenant: string | null;
}

interface Listener {
  kinds: readonly string[];
  callback: (changes: Change[]) => void;
  waiting: Change[];
  timer: ReturnType<typeof setTimeout> | null;
}

const DEBOUNCE_MS = 400;
const HIDDEN_MS = 15_000;
/** Longer than the server's pings lie apart: then the connection is dead. */
const SILENT_MS = 40_000;

class Live {
  connected = $state(false);
  /** False until a first try has failed: a page that just opens is not "not live". */
  troubled = $state(false);
  private listeners = new Set<Listener>();
  private running: AbortController | null = null;
  private hiddenTimer: ReturnType<typeof setTimeout> | null = null;
  private paused = false;

  constructor() {
    document.addEventListener("visibilitychange", () => this.seen(!document.hidden));
    addEventListener("online", () => this.restart());
    // A page that was left may be kept whole for "back", its stream with it: six of those, and the browser has no
    // connection left for the page that is being opened.
    addEventListener("pagehide", () => this.pause());
    addEventListener("pageshow", (event) => event.persisted && this.resume());
  }

  /** Begins anew: in another scope, or for the first time. */
  restart(): void {
    this.stop();
    if (this.paused) return;
    const run = new AbortController();
    this.running = run;
    void this.run(run);
  }

  stop(): void {
    this.running?.abort();
    this.running = null;
    this.connected = false;
  }

  listen(kinds: readonly string[], callback: (changes: Change[]) => void): () => void {
    const listener: Listener = { kinds, callback, waiting: [], timer: null };
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
      if (listener.timer !== null) clearTimeout(listener.timer);
    };
  }

  private seen(visible: boolean): void {
    if (this.hiddenTimer !== null) clearTimeout(this.hiddenTimer);
    this.hiddenTimer = null;
    if (!visible) {
      this.hiddenTimer = setTimeout(() => this.pause(), HIDDEN_MS);
      return;
    }
    this.resume();
    for (const listener of this.listeners) this.deliver(listener);
  }

  private pause(): void {
    this.paused = true;
    this.stop();
  }

  private resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.restart();
    this.catchUp();
  }

  private async run(run: AbortController): Promise<void> {
    for (let attempt = 0; !run.signal.aborted; attempt += 1) {
      try {
        await this.follow(run, () => {
          if (attempt > 0) this.catchUp();
          attempt = 0;
        });
      } catch (cause) {
        // Not allowed, or not there: trying again changes nothing until the scope does.
        if (cause instanceof ApiProblem && [400, 401, 403, 404].includes(cause.status)) {
          // Nothing here is theirs to see any more: the page that opens anew says so.
          if (cause.code === "tenant_suspended" && !session.visiting) location.reload();
          return;
        }
      }
      this.connected = false;
      if (run.signal.aborted) return;
      this.troubled = true;
      await new Promise((resolve) => setTimeout(resolve, liveDelay(attempt)));
    }
  }

  private async follow(run: AbortController, opened: () => void): Promise<void> {
    const once = new AbortController();
    const end = () => once.abort();
    run.signal.addEventListener("abort", end);
    let silence = setTimeout(end, SILENT_MS);
    try {
      const { path, headers } = this.address();
      const response = await api.open(path, { signal: once.signal, headers });
      const pieces = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      if (pieces === undefined || run.signal.aborted) return;
      this.connected = true;
      this.troubled = false;
      opened();
      const reader = new EventReader();
      for (;;) {
        const { done, value } = await pieces.read();
        if (done) return;
        clearTimeout(silence);
        silence = setTimeout(end, SILENT_MS);
        for (const event of reader.read(value)) this.take(event.name, event.text);
      }
    } finally {
      clearTimeout(silence);
      run.signal.removeEventListener("abort", end);
      once.abort();
    }
  }

  /** Streams know members alone: a visiting operator hears the platform's, and keeps what is of the tenant visited. */
  private address(): { path: string; headers: Record<string, string> } {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (!session.visiting) return { path: inScope("/live"), headers };
    if (router.home?.kind === "tenant") headers["X-Atrium-Tenant"] = router.home.slug;
    return { path: "/live?scope=platform", headers };
  }

  private concerns(change: Change): boolean {
    return !session.visiting || change.tenant === null || change.tenant === session.tenant?.id;
  }

  private take(name: string, text: string): void {
    if (name === "reset") this.catchUp();
    if (name !== "change") return;
    const change = JSON.parse(text) as Change;
    if (!this.concerns(change)) return;
    for (const listener of this.listeners) {
      if (!listener.kinds.includes(change.kind)) continue;
      listener.waiting.push(change);
      this.deliver(listener);
    }
  }

  /** After a break anything may have changed: everybody looks again. */
  private catchUp(): void {
    for (const listener of this.listeners) {
      listener.waiting.push(...listener.kinds.map((kind) => ({ kind, id: "", tenant: null })));
      this.deliver(listener);
    }
  }

  private deliver(listener: Listener): void {
    if (listener.waiting.length === 0 || document.hidden || listener.timer !== null) return;
    listener.timer = setTimeout(() => {
      listener.timer = null;
      if (document.hidden) return;
      listener.callback(listener.waiting.splice(0));
    }, DEBOUNCE_MS);
  }
}

export const live = new Live();

/** Calls back when things of these kinds changed, debounced; returns how to stop. For `$effect`. */
export function onChange(kinds: readonly string[], callback: (changes: Change[]) => void): () => void {
  return live.listen(kinds, callback);
}
