/**
 * The documents of one knowledge base: listed, uploaded (two at a time, with progress), watched
 * until nothing is in preparation, retried, deleted.
 */

import { api } from "../api/browser";
import { deleteDocument, fetchDocuments, retryDocument } from "../api/endpoints";
import { ApiProblem } from "../api/problem";
import type { KnowledgeDocument } from "../api/types";
import { uniqueId } from "../api/unique";
import { uploadDocument } from "../api/upload";
import { isPending, mergeDocuments, pollMilliseconds } from "./pending";

export interface Upload {
  key: string;
  name: string;
  share: number;
  problem: ApiProblem | null;
}

interface Waiting {
  upload: Upload;
  file: File;
  leaving: AbortController;
}

const UPLOADS_AT_ONCE = 2;

export class Documents {
  rows = $state<KnowledgeDocument[]>([]);
  uploads = $state<Upload[]>([]);
  loading = $state(true);
  problem = $state.raw<ApiProblem | null>(null);
  cursor = $state<string | null>(null);
  /** What was uploaded through this object, newest first. */
  uploaded = $state<string[]>([]);
  private waiting: Waiting[] = [];
  private active = new Map<string, Waiting>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private polls = 0;
  private left = false;

  constructor(readonly base: string) {}

  get pending(): number {
    return this.rows.filter((row) => isPending(row.state)).length;
  }

  async load(): Promise<void> {
    this.problem = null;
    try {
      const page = await fetchDocuments(this.base);
      this.rows = mergeDocuments(this.rows, page.results);
      this.cursor ??= page.next;
    } catch (cause) {
      if (!(cause instanceof ApiProblem)) throw cause;
      this.problem = cause;
    } finally {
      this.loading = false;
    }
    this.watch(true);
  }

  async loadMore(): Promise<void> {
    if (this.cursor === null) return;
    const page = await fetchDocuments(this.base, this.cursor);
    this.cursor = page.next;
    const known = new Set(this.rows.map((row) => row.id));
    this.rows.push(...page.results.filter((row) => !known.has(row.id)));
    this.watch(true);
  }

  /** Stops watching; uploads under way go on. */
  leave(): void {
    this.left = true;
    clearTimeout(this.timer);
  }

  add(files: Iterable<File>): void {
    for (const file of files) {
      const key = uniqueId();
      this.uploads.push({ key, name: file.name, share: 0, problem: null });
      const upload = this.uploads.at(-1)!;
      this.waiting.push({ upload, file, leaving: new AbortController() });
    }
    this.pump();
  }

  cancel(key: string): void {
    this.active.get(key)?.leaving.abort();
    this.waiting = this.waiting.filter((one) => one.upload.key !== key);
    this.uploads = this.uploads.filter((one) => one.key !== key);
  }

  async retry(id: string): Promise<void> {
    this.replace(await retryDocument(this.base, id));
    this.watch(true);
  }

  async remove(id: string): Promise<void> {
    await deleteDocument(this.base, id);
    this.rows = this.rows.filter((row) => row.id !== id);
  }

  private replace(row: KnowledgeDocument): void {
    const place = this.rows.findIndex((one) => one.id === row.id);
    if (place >= 0) this.rows[place] = row;
    else this.rows.unshift(row);
  }

  private pump(): void {
    while (this.active.size < UPLOADS_AT_ONCE) {
      const next = this.waiting.shift();
      if (next === undefined) return;
      this.active.set(next.upload.key, next);
      void this.carry(next);
    }
  }

  private async carry({ upload, file, leaving }: Waiting): Promise<void> {
    try {
      const row = await uploadDocument(api, this.base, file, {
        progress: (share) => (upload.share = share),
        signal: leaving.signal,
      });
      this.replace(row);
      this.uploaded.unshift(row.id);
      this.uploads = this.uploads.filter((one) => one.key !== upload.key);
      this.watch(true);
    } catch (cause) {
      if (!(cause instanceof ApiProblem)) throw cause;
      if (cause.code !== "aborted") upload.problem = cause;
    } finally {
      this.active.delete(upload.key);
      this.pump();
    }
  }

  private watch(afresh: boolean): void {
    if (afresh) this.polls = 0;
    clearTimeout(this.timer);
    const wait = pollMilliseconds(this.pending, this.polls);
    if (wait === null || this.left) return;
    this.timer = setTimeout(() => void this.poll(), wait);
  }

  private async poll(): Promise<void> {
    this.polls += 1;
    if (!document.hidden) {
      try {
        const page = await fetchDocuments(this.base);
        this.rows = mergeDocuments(this.rows, page.results);
      } catch (cause) {
        if (!(cause instanceof ApiProblem)) throw cause;
        // Seen again at the next poll; the rows on screen stay.
      }
    }
    this.watch(false);
  }
}
