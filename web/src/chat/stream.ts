/**
 * The life of one answer as a pure reduction over its events. Events are numbered 1, 2, 3 …; what
 * was already seen is ignored (a resume replays), and a hole is reported instead of papered over.
 */

import type { Citation } from "../api/types";
import type { MessageEvent } from "./events";

export type Phase = "sending" | "accepted" | "queued" | "streaming" | "completed" | "stopped" | "failed";

export interface Failure {
  code: string;
  message: string;
}

export interface StreamState {
  readonly phase: Phase;
  readonly lastSeq: number;
  readonly text: string;
  /** Null until the server has said which passages the answer uses. */
  readonly citations: readonly Citation[] | null;
  readonly model: string | null;
  readonly position: number | null;
  readonly expectedWaitSeconds: number | null;
  readonly failure: Failure | null;
  /** An event is missing: ask for everything after `lastSeq` again. */
  readonly gap: boolean;
}

export const EMPTY_STREAM: StreamState = {
  phase: "sending",
  lastSeq: 0,
  text: "",
  citations: null,
  model: null,
  position: null,
  expectedWaitSeconds: null,
  failure: null,
  gap: false,
};

export function hasEnded(phase: Phase): boolean {
  return phase === "completed" || phase === "stopped" || phase === "failed";
}

function change(state: StreamState, event: MessageEvent): Partial<StreamState> {
  switch (event.type) {
    case "message.started":
      return { phase: "accepted" };
    case "message.queued":
      return { phase: "queued", position: event.position, expectedWaitSeconds: event.expected_wait_s };
    case "message.routed":
      return { phase: "accepted", model: event.model, position: null };
    case "message.delta":
      return { phase: "streaming", text: state.text + event.text, position: null };
    case "message.citations":
      return { citations: event.citations };
    case "message.snapshot":
      return { text: event.text };
    case "message.completed":
      return { phase: "completed", citations: state.citations ?? [], position: null };
    case "message.stopped":
      return { phase: "stopped", citations: state.citations ?? [], position: null };
    case "error":
      return { phase: "failed", failure: { code: event.code, message: event.message }, position: null };
    default:
      return {}; // An event this page does not know yet: it only moves the sequence on.
  }
}

export function advance(state: StreamState, event: MessageEvent): StreamState {
  if (event.type === "message.snapshot") {
    return { ...state, ...change(state, event), lastSeq: Math.max(state.lastSeq, event.seq ?? 0), gap: false };
  }
  if (event.seq <= state.lastSeq || hasEnded(state.phase)) return state;
  if (event.seq > state.lastSeq + 1) return state.gap ? state : { ...state, gap: true };
  return { ...state, ...change(state, event), lastSeq: event.seq, gap: false };
}

/** A refusal before acceptance, or a lost connection that cannot be mended. */
export function fail(state: StreamState, failure: Failure): StreamState {
  return hasEnded(state.phase) ? state : { ...state, phase: "failed", failure, position: null };
}
