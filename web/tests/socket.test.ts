import { beforeEach, describe, expect, it } from "vitest";
import { backoffMilliseconds } from "../src/chat/backoff";
import { FrameBatch } from "../src/chat/frames";
import { ChatSocket, type SocketLike, type SocketState } from "../src/chat/socket";

/** A WebSocket that does what the test says. */
class ScriptedSocket implements SocketLike {
  onopen: SocketLike["onopen"] = null;
  onclose: SocketLike["onclose"] = null;
  onmessage: SocketLike["onmessage"] = null;
  sent: string[] = [];
  closed = false;

  send(text: unknown): void {
    this.sent.push(String(text));
  }
  close(): void {
    this.closed = true;
  }
  opens(): void {
    this.onopen?.call(this as never, new Event("open"));
  }
  says(frame: unknown): void {
    this.onmessage?.call(this as never, { data: JSON.stringify(frame) } as never);
  }
  drops(code: number): void {
    this.onclose?.call(this as never, { code } as never);
  }
}

let sockets: ScriptedSocket[];
let timers: { at: number; action: () => void; live: boolean }[];
let now: number;
let states: SocketState[];
let seen: string[];
let socket: ChatSocket;

function pass(milliseconds: number): void {
  const until = now + milliseconds;
  for (;;) {
    const due = timers.filter((timer) => timer.live && timer.at <= until).sort((a, b) => a.at - b.at)[0];
    if (!due) break;
    now = due.at;
    due.live = false;
    due.action();
  }
  now = until;
}

beforeEach(() => {
  sockets = [];
  timers = [];
  states = [];
  seen = [];
  now = 0;
  socket = new ChatSocket(
    {
      open: () => {
        const made = new ScriptedSocket();
        sockets.push(made);
        return made;
      },
      random: () => 1,
      delay: (milliseconds, action) => {
        const timer = { at: now + milliseconds, action, live: true };
        timers.push(timer);
        return () => void (timer.live = false);
      },
    },
    {
      state: (state) => states.push(state),
      ready: () => seen.push("ready"),
      frame: (frame) => seen.push(frame.type),
      refused: (code) => seen.push(`refused ${code}`),
    },
  );
});

describe("the chat's socket", () => {
  it("opens, hands frames over and keeps pongs to itself", () => {
    socket.connect();
    expect(socket.send({ type: "ping" })).toBe(false);
    sockets[0]!.opens();
    sockets[0]!.says({ type: "pong" });
    sockets[0]!.says({ type: "message.delta", message_id: "m", seq: 1, text: "a" });
    expect(seen).toEqual(["ready", "message.delta"]);
    expect(socket.send({ type: "ping" })).toBe(true);
  });

  it("comes back with growing waits, and says so to its owner", () => {
    socket.connect();
    sockets[0]!.opens();
    sockets[0]!.drops(1006);
    expect(states.at(-1)).toBe("waiting");
    pass(499);
    expect(sockets).toHaveLength(1);
    pass(1);
    expect(sockets).toHaveLength(2);
    sockets[1]!.drops(1006);
    pass(999);
    expect(sockets).toHaveLength(2);
    pass(1);
    sockets[2]!.opens();
    expect(seen).toEqual(["ready", "ready"]);
    sockets[2]!.drops(1006);
    pass(500);
    expect(sockets).toHaveLength(4);
  });

  it("waits longer when the server asks for it, unless the network has just come back", () => {
    socket.connect();
    sockets[0]!.drops(1013);
    pass(3_999);
    expect(sockets).toHaveLength(1);
    socket.nudge();
    expect(sockets).toHaveLength(2);
    socket.nudge();
    expect(sockets).toHaveLength(2);
  });

  it("does not try again when it is refused", () => {
    socket.connect();
    sockets[0]!.drops(4401);
    pass(60_000);
    expect(sockets).toHaveLength(1);
    expect(seen).toEqual(["refused 4401"]);
  });

  it("notices a connection that has died silently", () => {
    socket.connect();
    sockets[0]!.opens();
    pass(25_000);
    expect(sockets[0]!.sent).toEqual(['{"type":"ping"}']);
    sockets[0]!.says({ type: "pong" });
    pass(25_000);
    expect(sockets[0]!.sent).toHaveLength(2);
    pass(10_000);
    expect(sockets[0]!.closed).toBe(true);
    pass(500);
    expect(sockets).toHaveLength(2);
  });

  it("lets nothing of an old connection through", () => {
    socket.connect();
    const old = sockets[0]!;
    old.opens();
    const late = old.onmessage;
    old.drops(1006);
    pass(500);
    late?.call(old as never, { data: '{"type":"message.delta"}' } as never);
    expect(seen).toEqual(["ready"]);
  });
});

describe("waiting", () => {
  it("doubles up to a ceiling, half of it random", () => {
    expect([0, 1, 2, 10].map((attempt) => backoffMilliseconds(attempt, 1))).toEqual([500, 1000, 2000, 15_000]);
    expect(backoffMilliseconds(0, 0)).toBe(250);
  });
});

describe("frame batches", () => {
  it("delivers once per frame, whatever came in", () => {
    const frames: (() => void)[] = [];
    const delivered: number[][] = [];
    const batch = new FrameBatch<number>(
      { hidden: () => false, nextFrame: (action) => frames.push(action), later: () => undefined },
      (items) => delivered.push(items),
    );
    [1, 2, 3].forEach((item) => batch.add(item));
    expect(frames).toHaveLength(1);
    frames[0]!();
    batch.add(4);
    frames[1]!();
    expect(delivered).toEqual([[1, 2, 3], [4]]);
  });

  it("uses a timer while the tab is hidden", () => {
    let later = 0;
    const batch = new FrameBatch<number>(
      { hidden: () => true, nextFrame: () => expect.unreachable(), later: () => void (later += 1) },
      () => undefined,
    );
    batch.add(1);
    batch.add(2);
    expect(later).toBe(1);
  });
});
