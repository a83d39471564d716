/** Files on their way into a knowledge base: two at a time, each with its progress. */

import { ApiProblem } from "../../api/problem";
import { upload } from "../api/knowledge";

export const MOST_BYTES = 50 * 1024 * 1024;

export interface Upload {
  key: number;
  name: string;
  share: number;
  problem: ApiProblem | "tooLarge" | null;
}

interface Waiting {
  row: Upload;
  file: File;
  leaving: AbortController;
}

const AT_ONCE = 2;

export class Uploads {
  rows = $state<Upload[]>([]);
  /** How many were stored since the last time nothing was on its way. */
  stored = $state(0);
  private waiting: Waiting[] = [];
  private active = new Set<Waiting>();
  private next = 1;

  constructor(
    private readonly base: string,
    private readonly arrived: () => void,
  ) {}

  add(files: Iterable<File>): void {
    if (this.active.size === 0 && this.waiting.length === 0) this.stored = 0;
    for (const file of files) {
      this.rows.push({ key: this.next++, name: file.name, share: 0, problem: file.size > MOST_BYTES ? "tooLarge" : null });
      const row = this.rows.at(-1)!;
      if (row.problem === null) this.waiting.push({ row, file, leaving: new AbortController() });
    }
    this.pump();
  }

  drop(key: number): void {
    for (const one of this.active) if (one.row.key === key) one.leaving.abort();
    this.waiting = this.waiting.filter((one) => one.row.key !== key);
    this.rows = this.rows.filter((one) => one.key !== key);
  }

  private pump(): void {
    while (this.active.size < AT_ONCE) {
      const next = this.waiting.shift();
      if (next === undefined) return;
      this.active.add(next);
      void this.carry(next);
    }
  }

  private async carry(one: Waiting): Promise<void> {
    try {
      await upload(this.base, one.file, (share) => (one.row.share = share), one.leaving.signal);
      this.rows = this.rows.filter((row) => row.key !== one.row.key);
      this.stored += 1;
      this.arrived();
    } catch (cause) {
      if (cause instanceof ApiProblem) one.row.problem = cause;
      else if (!(cause instanceof DOMException && cause.name === "AbortError")) throw cause;
    } finally {
      this.active.delete(one);
      this.pump();
    }
  }
}
