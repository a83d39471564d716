/** The frames of `/ws/chat`, as the contract names them, and a lenient reader for incoming ones. */

import type { Citation } from "../api/types";

export interface MessageCreate {
  type: "message.create";
  request_id: string;
  assistant?: string;
  model?: string;
  conversation_id?: string;
  content: string;
  /** Tries an assistant that is not saved: nothing is stored, and the turns before come along. */
  draft?: { name: string; instructions: string; model: string; knowledge_base_ids: string[] };
  history?: { role: "user" | "assistant"; content: string }[];
}

export type ClientFrame =
  | MessageCreate
  | { type: "message.stop"; message_id: string }
  | { type: "resume"; message_id: string; last_seq: number }
  | { type: "ping" };

interface OfMessage {
  message_id: string;
  seq: number;
}

export type MessageEvent =
  | (OfMessage & { type: "message.started"; request_id: string; conversation_id: string })
  | (OfMessage & { type: "message.queued"; position: number; expected_wait_s: number | null })
  | (OfMessage & { type: "message.routed"; model: string })
  | (OfMessage & { type: "message.delta"; text: string })
  | (OfMessage & { type: "message.citations"; citations: Citation[] })
  | (OfMessage & { type: "message.snapshot"; text: string })
  | (OfMessage & { type: "message.completed"; finish_reason?: string })
  | (OfMessage & { type: "message.stopped" })
  | (OfMessage & { type: "error"; code: string; message: string });

/** An error that belongs to no accepted message: a refused `message.create`, a resume of nothing. */
export interface LooseError {
  type: "error";
  code: string;
  message: string;
  request_id?: string;
  message_id?: string;
}

export type ServerFrame = MessageEvent | LooseError | { type: "pong" };

/** Null for anything that is not an object with a type: such frames are dropped, not trusted. */
export function parseFrame(text: unknown): ServerFrame | null {
  if (typeof text !== "string") return null;
  try {
    const value: unknown = JSON.parse(text);
    if (value === null || typeof value !== "object") return null;
    return typeof (value as { type?: unknown }).type === "string" ? (value as ServerFrame) : null;
  } catch {
    return null;
  }
}

/** Events of a message have its id and their place in its sequence; a snapshot may lack the place. */
export function isMessageEvent(frame: ServerFrame): frame is MessageEvent {
  if (!("message_id" in frame) || typeof frame.message_id !== "string") return false;
  return frame.type === "message.snapshot" || ("seq" in frame && typeof frame.seq === "number");
}
