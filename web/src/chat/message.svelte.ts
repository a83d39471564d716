/** One message on screen and the conversation it stands in. */

import type { Citation, StoredMessage } from "../api/types";
import { uniqueId } from "../api/unique";
import type { Failure, Phase, StreamState } from "./stream";
import { hasEnded } from "./stream";
import type { Target } from "./target";

export class ChatMessage {
  readonly key = uniqueId();
  id = $state<string | null>(null);
  content = $state("");
  phase = $state<Phase>("completed");
  citations = $state.raw<readonly Citation[] | null>([]);
  model = $state<string | null>(null);
  position = $state<number | null>(null);
  expectedWaitSeconds = $state<number | null>(null);
  failure = $state.raw<Failure | null>(null);
  stopping = $state(false);
  /** Written on this page, not loaded from history: only such answers are announced. */
  live = $state(false);

  constructor(
    readonly role: "user" | "assistant",
    content = "",
  ) {
    this.content = content;
  }

  get running(): boolean {
    return !hasEnded(this.phase);
  }

  /** Takes over the state of the stream; a replay never makes the shown text shorter meanwhile. */
  absorb(stream: StreamState): void {
    if (hasEnded(stream.phase) || stream.text.length >= this.content.length) {
      if (stream.text !== "" || stream.phase === "completed") this.content = stream.text;
    }
    this.phase = stream.phase;
    this.citations = stream.citations;
    this.model = stream.model ?? this.model;
    this.position = stream.position;
    this.expectedWaitSeconds = stream.expectedWaitSeconds;
    this.failure = stream.failure;
    if (hasEnded(stream.phase)) this.stopping = false;
  }

  static fromStored(stored: StoredMessage): ChatMessage {
    const message = new ChatMessage(stored.role === "user" ? "user" : "assistant", stored.content);
    message.id = stored.id;
    message.model = stored.model || null;
    message.citations = stored.state === "running" ? null : (stored.citations ?? []);
    message.phase = phaseOf(stored);
    if (message.phase === "failed") message.failure = failureOf(stored);
    return message;
  }
}

function phaseOf(stored: StoredMessage): Phase {
  switch (stored.state) {
    case "running":
      return stored.role === "user" ? "completed" : "accepted";
    case "stopped":
    case "cancelled":
      return "stopped";
    case "failed":
      return "failed";
    default:
      return "completed";
  }
}

function failureOf({ error, error_code: code }: StoredMessage): Failure {
  if (error !== null && typeof error === "object") {
    return { code: error.code ?? "failed", message: error.message ?? "" };
  }
  return { code: code || "failed", message: error ?? "" };
}

export class Thread {
  conversation = $state<string | null>(null);
  messages = $state<ChatMessage[]>([]);
  loading = $state(false);
  problem = $state<string | null>(null);
  missing = $state(false);
  olderCursor = $state<string | null>(null);
  loadingOlder = $state(false);
  /** Who was asked last on this page. */
  target = $state.raw<Target | null>(null);

  get running(): ChatMessage | null {
    return this.messages.findLast((message) => message.role === "assistant" && message.running) ?? null;
  }
}
