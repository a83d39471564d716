/**
 * One WebSocket to `/ws/chat` for the whole page. It reconnects with backoff, notices a dead
 * connection by its missing pong, and tells its owner when a new one stands, so that the owner can
 * resume what was running. Frames sent while it is down are refused: the owner decides what to
 * repeat (a create is repeated with the same request id, a delta never is).
 */

import { backoffMilliseconds } from "./backoff";
import type { ClientFrame, ServerFrame } from "./events";
import { parseFrame } from "./events";

export type SocketState = "connecting" | "open" | "waiting" | "closed";

/** What is used of a WebSocket; a test gives its own. */
export type SocketLike = Pick<WebSocket, "onopen" | "onclose" | "onmessage" | "send" | "close">;

export interface SocketSurroundings {
  open: () => SocketLike;
  random: () => number;
  delay: (milliseconds: number, action: () => void) => () => void;
}

export interface SocketListener {
  state(state: SocketState): void;
  ready(): void;
  frame(frame: ServerFrame): void;
  /** 4401 or 4403: trying again would not help. */
  refused(code: number): void;
}

const PING_EVERY_MS = 25_000;
const PONG_WITHIN_MS = 10_000;
const TRY_LATER = 1013;

export class ChatSocket {
  private socket: SocketLike | null = null;
  private attempt = 0;
  private cancelRetry: (() => void) | null = null;
  private cancelPing: (() => void) | null = null;
  private isOpen = false;

  constructor(
    private readonly surroundings: SocketSurroundings,
    private readonly listener: SocketListener,
  ) {}

  connect(): void {
    this.cancelRetry?.();
    this.cancelRetry = null;
    if (this.socket !== null) return;
    this.listener.state("connecting");
    const socket = this.surroundings.open();
    this.socket = socket;
    socket.onopen = () => {
      if (this.socket !== socket) return;
      this.isOpen = true;
      this.attempt = 0;
      this.listener.state("open");
      this.schedulePing();
      this.listener.ready();
    };
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      this.schedulePing();
      const frame = parseFrame(event.data);
      if (frame !== null && frame.type !== "pong") this.listener.frame(frame);
    };
    socket.onclose = (event) => {
      if (this.socket === socket) this.lost(event.code);
    };
  }

  /** False when there is no open connection; nothing is kept back. */
  send(frame: ClientFrame): boolean {
    if (!this.isOpen || this.socket === null) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** The network is back (or the tab is visible again): do not sit out the rest of the wait. */
  nudge(): void {
    if (this.cancelRetry !== null) this.connect();
  }

  close(): void {
    this.forget();
    this.cancelRetry?.();
    this.cancelRetry = null;
    this.listener.state("closed");
  }

  private forget(): void {
    const socket = this.socket;
    this.socket = null;
    this.isOpen = false;
    this.cancelPing?.();
    this.cancelPing = null;
    if (socket !== null) {
      socket.onopen = null;
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    }
  }

  private lost(code: number): void {
    this.forget();
    if (code === 4401 || code === 4403) {
      this.listener.state("closed");
      this.listener.refused(code);
      return;
    }
    const attempt = code === TRY_LATER ? Math.max(this.attempt, 3) : this.attempt;
    this.attempt = attempt + 1;
    this.listener.state("waiting");
    const wait = backoffMilliseconds(attempt, this.surroundings.random());
    this.cancelRetry = this.surroundings.delay(wait, () => {
      this.cancelRetry = null;
      this.connect();
    });
  }

  /** Any frame proves life; after a quiet while a ping asks for one, and silence means lost. */
  private schedulePing(): void {
    this.cancelPing?.();
    this.cancelPing = this.surroundings.delay(PING_EVERY_MS, () => {
      this.send({ type: "ping" });
      this.cancelPing = this.surroundings.delay(PONG_WITHIN_MS, () => this.lost(1006));
    });
  }
}

/** The surroundings of a real page. */
export function browserSocket(tenant: () => string): SocketSurroundings {
  return {
    open: () => {
      const scheme = location.protocol === "https:" ? "wss:" : "ws:";
      return new WebSocket(`${scheme}//${location.host}/ws/chat?tenant=${encodeURIComponent(tenant())}`);
    },
    random: Math.random,
    delay: (milliseconds, action) => {
      const timer = setTimeout(action, milliseconds);
      return () => clearTimeout(timer);
    },
  };
}
