/** Documents on their way: what is worth asking about again, and how often. Pure. */

import type { DocumentState, KnowledgeDocument } from "../api/types";

export function isPending(state: DocumentState): boolean {
  return state === "queued" || state === "processing";
}

/** Quick at first, slower for long preparations; null when nothing is pending. */
export function pollMilliseconds(pending: number, polls: number): number | null {
  if (pending === 0) return null;
  return Math.min(8_000, 1_000 * 1.25 ** Math.min(polls, 12));
}

/** Fresh rows over known ones: rows keep their place, new ones come first. */
export function mergeDocuments(
  known: readonly KnowledgeDocument[],
  fresh: readonly KnowledgeDocument[],
): KnowledgeDocument[] {
  const byId = new Map(fresh.map((row) => [row.id, row]));
  const ids = new Set(known.map((row) => row.id));
  const added = fresh.filter((row) => !ids.has(row.id));
  return [...added, ...known.map((row) => byId.get(row.id) ?? row)];
}

export function formatBytes(bytes: number | null | undefined, language: string): string {
  if (bytes === null || bytes === undefined) return "";
  const units = ["B", "kB", "MB", "GB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 10 ? 1 : 0;
  return `${value.toLocaleString(language, { maximumFractionDigits: digits })} ${units[unit]}`;
}
