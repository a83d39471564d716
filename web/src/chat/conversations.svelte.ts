/** The sidebar's list: loaded page by page, changed in place, never fetched whole again. */

import {
  deleteConversation,
  fetchConversation,
  fetchConversations,
  renameConversation,
} from "../api/endpoints";
import { ApiProblem } from "../api/problem";
import type { Conversation } from "../api/types";

const UNDO_MS = 6_000;

class Conversations {
  list = $state<Conversation[]>([]);
  loading = $state(false);
  loaded = $state(false);
  problem = $state<ApiProblem | null>(null);
  private cursor: string | null = null;
  private started = false;
  private deleting = new Map<string, { timer: ReturnType<typeof setTimeout>; row: Conversation }>();

  get more(): boolean {
    return !this.started || this.cursor !== null;
  }

  async loadMore(): Promise<void> {
    if (this.loading || !this.more) return;
    this.loading = true;
    this.problem = null;
    try {
      const page = await fetchConversations(this.cursor);
      this.started = true;
      this.cursor = page.next;
      const known = new Set(this.list.map((one) => one.id));
      this.list.push(...page.results.filter((one) => !known.has(one.id) && !this.deleting.has(one.id)));
      this.loaded = true;
    } catch (cause) {
      if (!(cause instanceof ApiProblem)) throw cause;
      this.problem = cause;
    } finally {
      this.loading = false;
    }
  }

  /** For a search: everything there is, within reason. */
  async loadAll(pages = 20): Promise<void> {
    for (let page = 0; page < pages && this.more && this.problem === null; page += 1) await this.loadMore();
  }

  find(id: string | null): Conversation | undefined {
    return this.list.find((one) => one.id === id);
  }

  /** A conversation was used: it is (now) the first one. */
  put(conversation: Conversation): void {
    this.list = [conversation, ...this.list.filter((one) => one.id !== conversation.id)];
  }

  /** The server may have given a title meanwhile. */
  async refresh(id: string): Promise<Conversation | null> {
    try {
      const fresh = await fetchConversation(id);
      const place = this.list.findIndex((one) => one.id === id);
      if (place >= 0) this.list[place] = fresh;
      else if (!this.deleting.has(id)) this.list.unshift(fresh);
      return fresh;
    } catch {
      return null; // The list keeps what it has.
    }
  }

  async rename(id: string, title: string): Promise<void> {
    const row = this.find(id);
    const before = row?.title ?? "";
    if (row) row.title = title;
    try {
      await renameConversation(id, title);
    } catch (cause) {
      const current = this.find(id);
      if (current) current.title = before;
      throw cause;
    }
  }

  /** Gone from the list at once, from the server when nobody has undone it. */
  removeSoon(id: string, failed: () => void): () => void {
    const place = this.list.findIndex((one) => one.id === id);
    const row = this.list[place];
    if (!row) return () => undefined;
    this.list.splice(place, 1);
    const putBack = () => {
      const pending = this.deleting.get(id);
      if (!pending) return;
      clearTimeout(pending.timer);
      this.deleting.delete(id);
      this.list.splice(Math.min(place, this.list.length), 0, pending.row);
    };
    const timer = setTimeout(() => {
      deleteConversation(id).then(
        () => this.deleting.delete(id),
        () => {
          putBack();
          failed();
        },
      );
    }, UNDO_MS);
    this.deleting.set(id, { timer, row: $state.snapshot(row) });
    return putBack;
  }

  /** The page closes: what was deleted and not undone is deleted now. */
  flushRemovals(): void {
    for (const [id, { timer }] of this.deleting) {
      clearTimeout(timer);
      void deleteConversation(id, { keepalive: true }).catch(() => undefined);
    }
    this.deleting.clear();
  }
}

export const conversations = new Conversations();
