/**
 * The chat's desk: threads by conversation, the answers that are running, and the socket between
 * them and the server. An answer goes on when its conversation is not the one on screen.
 */

import { goToLogin } from "../api/browser";
import { fetchMessages } from "../api/endpoints";
import { ApiProblem } from "../api/problem";
import { uniqueId } from "../api/unique";
import { router } from "../app/router.svelte";
import { session } from "../app/session.svelte";
import { conversations } from "./conversations.svelte";
import { isMessageEvent, type LooseError, type MessageCreate, type MessageEvent, type ServerFrame } from "./events";
import { browserFrames, FrameBatch } from "./frames";
import { inReadingOrder, newestFirst } from "./history";
import { ChatMessage, Thread } from "./message.svelte";
import { noteEnded, noteRunning, runningIn } from "./running";
import { browserSocket, ChatSocket, type SocketState } from "./socket";
import { advance, EMPTY_STREAM, fail, hasEnded, type StreamState } from "./stream";
import type { Target } from "./target";

interface Run {
  thread: Thread;
  message: ChatMessage;
  stream: StreamState;
  /** Not yet accepted: sent again, with the same request id, by a new connection. */
  create: MessageCreate | null;
  stopWanted: boolean;
}

const PAGES_AT_MOST = 40;

class Chat {
  socketState = $state<SocketState>("closed");
  refused = $state(false);
  /** What the server said before it closed the connection; "" where it said nothing. */
  refusal = $state("");
  thread = $state.raw<Thread>(new Thread());
  private readonly threads = new Map<string, Thread>();
  private readonly byRequest = new Map<string, Run>();
  private readonly byMessage = new Map<string, Run>();
  /** Answers whose events the server no longer has: asking again would go round in circles. */
  private readonly gone = new Set<string>();
  private readonly batch = new FrameBatch<ServerFrame>(browserFrames, (frames) => this.deliver(frames));
  private socket: ChatSocket | null = null;

  connect(): void {
    this.socket ??= new ChatSocket(browserSocket(() => session.tenantSlug), {
      state: (state) => (this.socketState = state),
      ready: () => this.catchUp(),
      frame: (frame) => {
        if (frame.type === "error" && frame.message_id === undefined && !("request_id" in frame)) this.refusal = frame.message;
        this.batch.add(frame);
      },
      refused: (code) => (code === 4401 ? goToLogin() : (this.refused = true)),
    });
    this.refused = false;
    this.refusal = "";
    this.socket.connect();
  }

  nudge(): void {
    this.socket?.nudge();
  }

  /** Shows a conversation (null: an empty new one), from memory when it is there. */
  open(conversation: string | null): void {
    if (conversation === null) {
      if (this.thread.conversation !== null || this.thread.messages.length > 0) this.thread = new Thread();
      return;
    }
    if (this.thread.conversation === conversation) return;
    const known = this.threads.get(conversation);
    this.thread = known ?? new Thread();
    if (known) return;
    this.thread.conversation = conversation;
    this.threads.set(conversation, this.thread);
    void this.load(this.thread, conversation);
  }

  forget(conversation: string): void {
    this.threads.delete(conversation);
  }

  async reload(thread: Thread): Promise<void> {
    if (thread.conversation !== null) await this.load(thread, thread.conversation);
  }

  private async load(thread: Thread, conversation: string): Promise<void> {
    thread.loading = thread.messages.length === 0;
    thread.problem = null;
    thread.missing = false;
    try {
      let page = await fetchMessages(conversation);
      const rows = [...page.results];
      thread.olderCursor = null;
      if (newestFirst(page)) thread.olderCursor = page.next;
      else
        for (let count = 0; page.next !== null && count < PAGES_AT_MOST; count += 1) {
          page = await fetchMessages(conversation, page.next);
          rows.push(...page.results);
        }
      thread.messages = inReadingOrder(rows).map((row) => ChatMessage.fromStored(row));
      this.resumeRunning(thread, conversation);
    } catch (cause) {
      if (!(cause instanceof ApiProblem)) throw cause;
      if (cause.status === 404) thread.missing = true;
      else thread.problem = cause.message;
      this.threads.delete(conversation);
    } finally {
      thread.loading = false;
    }
  }

  async loadOlder(thread: Thread): Promise<void> {
    if (thread.conversation === null || thread.olderCursor === null || thread.loadingOlder) return;
    thread.loadingOlder = true;
    try {
      const page = await fetchMessages(thread.conversation, thread.olderCursor);
      thread.olderCursor = page.next;
      const known = new Set(thread.messages.map((message) => message.id));
      const older = inReadingOrder(page.results).filter((row) => !known.has(row.id));
      thread.messages = [...older.map((row) => ChatMessage.fromStored(row)), ...thread.messages];
    } catch (cause) {
      if (!(cause instanceof ApiProblem)) throw cause;
    } finally {
      thread.loadingOlder = false;
    }
  }

  /** Answers the list calls running, and those this tab watched before a reload. */
  private resumeRunning(thread: Thread, conversation: string): void {
    const ids = new Set(thread.messages.map((message) => message.id));
    for (const id of runningIn(conversation)) {
      if (ids.has(id)) {
        if (!thread.messages.find((message) => message.id === id)?.running) noteEnded(id);
        continue;
      }
      const message = new ChatMessage("assistant");
      message.id = id;
      message.phase = "accepted";
      message.citations = null;
      thread.messages.push(message);
    }
    for (const message of thread.messages) {
      if (message.role !== "assistant" || !message.running || message.id === null) continue;
      if (this.byMessage.has(message.id)) continue;
      if (this.gone.has(message.id)) {
        message.phase = "failed";
        message.failure = { code: "lost", message: "" };
        continue;
      }
      message.live = true;
      const run: Run = { thread, message, stream: { ...EMPTY_STREAM, phase: "accepted" }, create: null, stopWanted: false };
      this.byMessage.set(message.id, run);
      this.socket?.send({ type: "resume", message_id: message.id, last_seq: 0 });
    }
  }

  send(content: string, target: Target): void {
    const thread = this.thread;
    const question = new ChatMessage("user", content);
    const answer = new ChatMessage("assistant");
    answer.phase = "sending";
    answer.citations = null;
    answer.live = true;
    thread.messages.push(question, answer);
    thread.target = target;
    const create: MessageCreate = { type: "message.create", request_id: uniqueId(), content };
    if (target.kind === "assistant") create.assistant = target.slug;
    else create.model = target.id;
    if (thread.conversation !== null) create.conversation_id = thread.conversation;
    const run: Run = { thread, message: answer, stream: EMPTY_STREAM, create, stopWanted: false };
    this.byRequest.set(create.request_id, run);
    this.socket?.send(create);
    if (thread.conversation !== null) {
      const row = conversations.find(thread.conversation);
      if (row) conversations.put({ ...row, updated_at: new Date().toISOString() });
    }
  }

  /** The same question once more; a pair that was never accepted leaves the screen first. */
  retry(answer: ChatMessage, target: Target): void {
    const place = this.thread.messages.indexOf(answer);
    const question = this.thread.messages.slice(0, place).findLast((message) => message.role === "user");
    if (!question) return;
    if (answer.id === null) {
      this.thread.messages = this.thread.messages.filter((one) => one !== answer && one !== question);
    }
    this.send(question.content, target);
  }

  stop(): void {
    const message = this.thread.running;
    if (message === null) return;
    message.stopping = true;
    if (message.id !== null) {
      const run = this.byMessage.get(message.id);
      if (run) run.stopWanted = true;
      this.socket?.send({ type: "message.stop", message_id: message.id });
      return;
    }
    for (const [request, run] of this.byRequest) {
      if (run.message !== message) continue;
      run.stopWanted = true;
      if (this.socketState !== "open") {
        // Nothing has left this page: the question simply is not asked.
        this.byRequest.delete(request);
        run.stream = { ...run.stream, phase: "stopped", citations: [] };
        message.absorb(run.stream);
      }
    }
  }

  /** A connection stands (again): repeat what was not accepted, resume what was. */
  private catchUp(): void {
    for (const run of this.byRequest.values()) if (run.create) this.socket?.send(run.create);
    for (const [id, run] of this.byMessage) {
      this.socket?.send({ type: "resume", message_id: id, last_seq: run.stream.lastSeq });
      if (run.stopWanted) this.socket?.send({ type: "message.stop", message_id: id });
    }
  }

  private deliver(frames: ServerFrame[]): void {
    const touched = new Set<Run>();
    for (const frame of frames) {
      if (isMessageEvent(frame)) {
        const run = this.runOf(frame);
        if (run) {
          const hadGap = run.stream.gap;
          run.stream = advance(run.stream, frame);
          if (run.stream.gap && !hadGap) {
            this.socket?.send({ type: "resume", message_id: frame.message_id, last_seq: run.stream.lastSeq });
          }
          if (frame.type === "message.snapshot") void this.settleFromHistory(run, frame.message_id);
          touched.add(run);
        }
      } else if (frame.type === "error") {
        this.looseError(frame);
      }
    }
    for (const run of touched) {
      run.message.absorb(run.stream);
      if (hasEnded(run.stream.phase)) this.settle(run);
    }
  }

  private runOf(event: MessageEvent): Run | null {
    if (event.type !== "message.started") return this.byMessage.get(event.message_id) ?? null;
    const run = this.byRequest.get(event.request_id);
    if (!run) return this.byMessage.get(event.message_id) ?? null;
    this.byRequest.delete(event.request_id);
    const assistant = run.create?.assistant ?? null;
    run.create = null;
    run.message.id = event.message_id;
    this.byMessage.set(event.message_id, run);
    noteRunning(event.message_id, event.conversation_id);
    if (run.thread.conversation === null) this.adopt(run.thread, event.conversation_id, assistant);
    if (run.stopWanted) this.socket?.send({ type: "message.stop", message_id: event.message_id });
    return run;
  }

  /** A new chat has become a conversation. */
  private adopt(thread: Thread, conversation: string, assistant: string | null): void {
    thread.conversation = conversation;
    this.threads.set(conversation, thread);
    const title = thread.messages.find((message) => message.role === "user")?.content ?? "";
    conversations.put({
      id: conversation,
      title: title.replace(/\s+/g, " ").slice(0, 80),
      assistant,
      updated_at: new Date().toISOString(),
    });
    if (this.thread === thread) router.replace({ page: "chat", conversation });
  }

  private settle(run: Run): void {
    const id = run.message.id;
    if (id === null || !this.byMessage.delete(id)) return;
    noteEnded(id);
    if (run.thread.conversation !== null) void conversations.refresh(run.thread.conversation);
  }

  private looseError(error: LooseError): void {
    if (error.request_id !== undefined) {
      const run = this.byRequest.get(error.request_id);
      if (!run) return;
      this.byRequest.delete(error.request_id);
      run.stream = fail(run.stream, { code: error.code, message: error.message });
      run.message.absorb(run.stream);
      return;
    }
    if (error.code !== "not_found") return;
    // A resume of something the server no longer knows: the stored messages tell how it ended.
    for (const [id, run] of this.byMessage) {
      if (error.message_id === undefined || error.message_id === id) void this.settleFromHistory(run, id);
    }
  }

  private async settleFromHistory(run: Run, id: string): Promise<void> {
    if (!this.byMessage.delete(id)) return;
    noteEnded(id);
    this.gone.add(id);
    await this.reload(run.thread);
  }
}

export const chat = new Chat();
