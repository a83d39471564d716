/** Questions to a draft: each with its answer as it comes. Kept in this page alone. */

import { uniqueId } from "../../api/unique";
import { isMessageEvent, type MessageEvent, type ServerFrame } from "../../chat/events";
import { browserFrames, FrameBatch } from "../../chat/frames";
import { browserSocket, ChatSocket, type SocketState, type SocketSurroundings } from "../../chat/socket";
import { advance, EMPTY_STREAM, fail, hasEnded, type StreamState } from "../../chat/stream";

export interface Draft {
  name: string;
  instructions: string;
  model: string;
  knowledge_base_ids: string[];
}

export interface TrialTurn {
  readonly requestId: string;
  readonly question: string;
  /** The draft that answered, to tell when the form has moved on. */
  readonly draft: string;
  readonly messageId: string | null;
  readonly stream: StreamState;
}

/** The server takes no more of either. */
const MOST_TURNS = 40;
const MOST_CHARS = 100_000;
export const LOST = "connection_lost";

export class Trial {
  turns = $state.raw<readonly TrialTurn[]>([]);
  state = $state<SocketState>("closed");
  refused = $state(false);
  private readonly socket: ChatSocket;
  private readonly batch: FrameBatch<MessageEvent>;
  private waiting: (() => void) | null = null;

  constructor(surroundings: SocketSurroundings) {
    this.batch = new FrameBatch(browserFrames, (events) => this.take(events));
    this.socket = new ChatSocket(surroundings, {
      state: (state) => {
        this.state = state;
        if (state === "waiting" || state === "closed") this.drop();
      },
      ready: () => {
        this.waiting?.();
        this.waiting = null;
      },
      frame: (frame) => this.hear(frame),
      refused: () => {
        this.refused = true;
        this.drop();
      },
    });
  }

  static overPage(tenant: () => string): Trial {
    return new Trial(browserSocket(tenant));
  }

  get running(): TrialTurn | null {
    const last = this.turns.at(-1);
    return last !== undefined && !hasEnded(last.stream.phase) ? last : null;
  }

  ask(question: string, draft: Draft): void {
    if (this.running !== null) return;
    const requestId = uniqueId();
    const history = this.history();
    this.turns = [
      ...this.turns,
      { requestId, question, draft: JSON.stringify(draft), messageId: null, stream: EMPTY_STREAM },
    ];
    const send = () =>
      this.socket.send({ type: "message.create", request_id: requestId, content: question, draft, history });
    if (!send()) {
      this.waiting = () => void send();
      this.socket.connect();
    }
  }

  stop(): void {
    const { running } = this;
    if (running === null) return;
    if (running.messageId === null || !this.socket.send({ type: "message.stop", message_id: running.messageId })) {
      this.drop();
    }
  }

  /** Forgets everything said. */
  clear(): void {
    this.stop();
    this.turns = [];
  }

  close(): void {
    this.socket.close();
  }

  /** What was said before, as far as it fits: whole pairs, the newest. */
  private history(): { role: "user" | "assistant"; content: string }[] {
    const kept: { role: "user" | "assistant"; content: string }[] = [];
    let chars = 0;
    for (const turn of [...this.turns].reverse()) {
      if (turn.stream.text === "" || turn.stream.phase === "failed") continue;
      chars += turn.question.length + turn.stream.text.length;
      if (chars > MOST_CHARS || kept.length + 2 > MOST_TURNS) break;
      kept.unshift({ role: "user", content: turn.question }, { role: "assistant", content: turn.stream.text });
    }
    return kept;
  }

  private hear(frame: ServerFrame): void {
    if (isMessageEvent(frame)) this.batch.add(frame);
    else if (frame.type === "error") {
      const { code, message } = frame;
      this.change((turn) => turn.requestId === frame.request_id || turn === this.running, (turn) => ({
        ...turn,
        stream: fail(turn.stream, { code, message }),
      }));
    }
  }

  private take(events: readonly MessageEvent[]): void {
    for (const event of events) {
      if (event.type === "message.started") {
        this.change((turn) => turn.requestId === event.request_id, (turn) => ({ ...turn, messageId: event.message_id }));
      }
      this.change((turn) => turn.messageId === event.message_id, (turn) => ({
        ...turn,
        stream: advance(turn.stream, event),
      }));
    }
  }

  /** Nothing of a trial can be resumed: what was under way when the connection broke is over. */
  private drop(): void {
    this.batch.flush();
    this.change((turn) => !hasEnded(turn.stream.phase) && turn.messageId !== null, (turn) => ({
      ...turn,
      stream: fail(turn.stream, { code: LOST, message: "" }),
    }));
  }

  private change(which: (turn: TrialTurn) => boolean, how: (turn: TrialTurn) => TrialTurn): void {
    this.turns = this.turns.map((turn) => (which(turn) ? how(turn) : turn));
  }
}
