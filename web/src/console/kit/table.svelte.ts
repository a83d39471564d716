/** A list of the API as a table shows it: which page of it, how it was asked for, what came back. */

import type { Snippet } from "svelte";
import { ApiProblem } from "../../api/problem";
import { recall, remember } from "../../app/storage";
import { api } from "../api/client";
import { cursorOf, withQuery } from "../api/paths";

export interface Column<Row> {
  id: string;
  label: string;
  /** The cell's text; a `cell` snippet wins. */
  text?: (row: Row) => string | number | null | undefined;
  cell?: Snippet<[Row]> | undefined;
  /** The server's name for sorting by it. */
  sort?: string | undefined;
  /** Names the row: its link, and the head of its card on phones. The first column, when none says so. */
  primary?: boolean | undefined;
  align?: "end" | undefined;
  /** Not shown until chosen. */
  hidden?: boolean | undefined;
  /** Takes the room that is left. */
  wide?: boolean | undefined;
}

export interface Choice {
  value: string;
  label: string;
  hint?: string | undefined;
}

export type Filter =
  | { name: string; label: string; options: readonly Choice[]; many?: boolean }
  | { name: string; label: string; find: (query: string, signal: AbortSignal) => Promise<Choice[]> }
  | { name: string; label: string; kind: "date" };

interface ListAnswer<Row> {
  results: Row[];
  next: string | null;
  previous: string | null;
  total?: number | undefined;
}

/** The server counts no further. */
export const MOST_COUNTED = 10_000;
export const PAGE_SIZES = [25, 50, 100, 200] as const;

export class TableRows<Row> {
  rows = $state.raw<Row[]>([]);
  next = $state.raw<string | null>(null);
  previous = $state.raw<string | null>(null);
  total = $state.raw<number | null>(null);
  loading = $state(true);
  loaded = $state(false);
  problem = $state.raw<ApiProblem | null>(null);
  private run: AbortController | null = null;

  /** Fetches what `address` names. A silent run keeps what is shown until the new rows are there. */
  async load(address: string, silent = false): Promise<void> {
    this.run?.abort();
    const run = new AbortController();
    this.run = run;
    if (!silent) this.loading = true;
    try {
      const answer = await api.get<ListAnswer<Row>>(address, { signal: run.signal });
      if (run.signal.aborted) return;
      this.rows = answer.results;
      this.next = cursorOf(answer.next);
      this.previous = cursorOf(answer.previous);
      this.total = answer.total ?? null;
      this.problem = null;
      this.loaded = true;
    } catch (cause) {
      if (run.signal.aborted || (cause instanceof DOMException && cause.name === "AbortError")) return;
      if (!(cause instanceof ApiProblem)) throw cause;
      if (!silent) this.problem = cause;
    } finally {
      if (!run.signal.aborted) this.loading = false;
    }
  }

  stop(): void {
    this.run?.abort();
  }
}

interface Showable {
  id: string;
  hidden?: boolean | undefined;
  primary?: boolean | undefined;
}

/** Which columns a person has chosen; nothing stored means those not hidden at first. */
export class ColumnChoice {
  chosen = $state.raw<readonly string[] | null>(null);

  constructor(private readonly table: string) {
    const stored = recall(`atrium.columns.${table}`);
    this.chosen = stored === null ? null : stored.split(",");
  }

  shows(column: Showable): boolean {
    return column.primary === true || (this.chosen?.includes(column.id) ?? column.hidden !== true);
  }

  toggle(columns: readonly Showable[], id: string): void {
    const shown = columns.filter((column) => this.shows(column) !== (column.id === id)).map((column) => column.id);
    this.chosen = shown;
    remember(`atrium.columns.${this.table}`, shown.join(","));
  }
}

export function storedPageSize(table: string): number {
  const size = Number(recall(`atrium.rows.${table}`));
  return PAGE_SIZES.some((one) => one === size) ? size : 25;
}

export function storePageSize(table: string, size: number): void {
  remember(`atrium.rows.${table}`, String(size));
}

/** The next order of a column: as it is best read at first, then turned, then the usual one. */
export function nextSort(current: string, column: string, usual: string): string | null {
  if (current === column) return `-${column}` === usual ? null : `-${column}`;
  if (current === `-${column}`) return column === usual || usual === current ? column : null;
  return column;
}

/** The address of a list from what its table's part of the query says. */
export function listAddress(
  path: string,
  fixed: Record<string, string>,
  query: URLSearchParams,
  names: { prefix: string; filters: readonly string[] },
  limit: number,
): string {
  const { prefix, filters } = names;
  const values: Record<string, string | null> = { ...fixed };
  for (const name of ["sort", "q", ...filters]) values[name] = query.get(prefix + name) ?? values[name] ?? null;
  return withQuery(path, { ...values, limit, cursor: query.get(`${prefix}cursor`), total: "true" });
}
