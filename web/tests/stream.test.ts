import { describe, expect, it } from "vitest";
import type { MessageEvent } from "../src/chat/events";
import { isMessageEvent, parseFrame } from "../src/chat/events";
import { advance, EMPTY_STREAM, fail, hasEnded, type StreamState } from "../src/chat/stream";

type Body<E> = E extends MessageEvent ? Omit<E, "message_id" | "seq"> : never;

function play(bodies: Body<MessageEvent>[], start: StreamState = EMPTY_STREAM): StreamState {
  return bodies.reduce(
    (state, body, place) => advance(state, { message_id: "m", seq: place + 1, ...body } as MessageEvent),
    start,
  );
}

const started = { type: "message.started", request_id: "r", conversation_id: "c" } as const;
const delta = (text: string) => ({ type: "message.delta", text }) as const;
const citation = { index: 1, document_id: "d", title: "T", chunk_id: "k", text: "t", score: 1 };

describe("an answer's stream", () => {
  it("gathers text, model and citations until it is completed", () => {
    const state = play([
      started,
      { type: "message.routed", model: "small" },
      delta("Hello "),
      delta("world"),
      { type: "message.citations", citations: [citation] },
      { type: "message.completed" },
    ]);
    expect(state).toMatchObject({ phase: "completed", text: "Hello world", model: "small", lastSeq: 6 });
    expect(state.citations).toEqual([citation]);
  });

  it("tells the place in the queue and forgets it with the first word", () => {
    const queued = play([started, { type: "message.queued", position: 3, expected_wait_s: 2 }]);
    expect(queued).toMatchObject({ phase: "queued", position: 3, expectedWaitSeconds: 2 });
    const next = advance(queued, { message_id: "m", seq: 3, ...delta("x") });
    expect(next).toMatchObject({ phase: "streaming", position: null });
  });

  it("ignores what a resume replays", () => {
    const state = play([started, delta("a"), delta("b")]);
    const replayed = advance(state, { message_id: "m", seq: 2, ...delta("a") });
    expect(replayed).toBe(state);
  });

  it("reports a hole instead of joining text across it, and mends after the missing event", () => {
    const state = play([started, delta("a")]);
    const holed = advance(state, { message_id: "m", seq: 4, ...delta("c") });
    expect(holed).toMatchObject({ gap: true, text: "a", lastSeq: 2 });
    const mended = [3, 4].reduce(
      (current, seq) => advance(current, { message_id: "m", seq, ...delta(seq === 3 ? "b" : "c") }),
      holed,
    );
    expect(mended).toMatchObject({ gap: false, text: "abc", lastSeq: 4 });
  });

  it("keeps the partial text when it fails or is stopped, and nothing comes after the end", () => {
    const failed = play([started, delta("half"), { type: "error", code: "server_overloaded", message: "busy" }]);
    expect(failed).toMatchObject({ phase: "failed", text: "half", failure: { code: "server_overloaded" } });
    expect(advance(failed, { message_id: "m", seq: 4, ...delta("more") })).toBe(failed);
    expect(play([started, delta("half"), { type: "message.stopped" }])).toMatchObject({ phase: "stopped", text: "half" });
    expect(hasEnded("stopped")).toBe(true);
    expect(hasEnded("queued")).toBe(false);
  });

  it("takes a snapshot as the whole text", () => {
    const state = advance(play([started, delta("ab")]), { type: "message.snapshot", message_id: "m", seq: 9, text: "abcdef" });
    expect(state).toMatchObject({ text: "abcdef", lastSeq: 9, gap: false });
  });

  it("moves on over events it does not know", () => {
    const state = play([started, { type: "tool.started" } as never, delta("a")]);
    expect(state).toMatchObject({ text: "a", lastSeq: 3, gap: false });
  });

  it("fails a refused question, but never an ended answer", () => {
    expect(fail(EMPTY_STREAM, { code: "x", message: "y" }).phase).toBe("failed");
    const done = play([started, { type: "message.completed" }]);
    expect(fail(done, { code: "x", message: "y" })).toBe(done);
  });
});

describe("incoming frames", () => {
  it("drops what is not an object with a type", () => {
    for (const text of ["", "no json", "[]", "null", "3", '{"a":1}', '{"type":4}']) expect(parseFrame(text)).toBeNull();
    expect(parseFrame(new ArrayBuffer(2))).toBeNull();
    expect(parseFrame('{"type":"pong"}')).toEqual({ type: "pong" });
  });

  it("tells an event of a message from a loose error", () => {
    expect(isMessageEvent({ type: "error", code: "c", message: "m", message_id: "m", seq: 4 })).toBe(true);
    expect(isMessageEvent({ type: "error", code: "c", message: "m", message_id: "m" })).toBe(false);
    expect(isMessageEvent({ type: "error", code: "c", message: "m", request_id: "r" })).toBe(false);
    expect(isMessageEvent({ type: "pong" })).toBe(false);
  });
});
