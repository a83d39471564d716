/** Citation markers in an answer's text, and what is shown of the passages they point to. */

import type { Citation } from "../api/types";

/** `[1]`, `[1, 2]`: the numbers of a marker that starts at `start`, or null; not a link `[1](…)`. */
export function markerAt(text: string, start: number): { indexes: number[]; length: number } | null {
  const match = /^\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\](?!\()/.exec(text.slice(start, start + 64));
  if (match === null) return null;
  const indexes = (match[1] ?? "").split(/[,;]/).map((part) => Number.parseInt(part, 10));
  return { indexes, length: match[0].length };
}

/** Citations in the order of their numbers, each number once. */
export function byIndex(citations: readonly Citation[]): Citation[] {
  const seen = new Map<number, Citation>();
  for (const citation of citations) if (!seen.has(citation.index)) seen.set(citation.index, citation);
  return [...seen.values()].sort((left, right) => left.index - right.index);
}

/** One entry per document, with the numbers that lead into it. */
export function byDocument(citations: readonly Citation[]): { title: string; citations: Citation[] }[] {
  const groups = new Map<string, { title: string; citations: Citation[] }>();
  for (const citation of byIndex(citations)) {
    const group = groups.get(citation.document_id);
    if (group) group.citations.push(citation);
    else groups.set(citation.document_id, { title: citation.title, citations: [citation] });
  }
  return [...groups.values()];
}

/** A link out is offered only for web addresses. */
export function webAddress(url: string | null | undefined): string | null {
  return url && /^https?:\/\//i.test(url) ? url : null;
}

/** The text to copy: markers stay, and the sources are listed below, so that the copy stands alone. */
export function withSources(text: string, citations: readonly Citation[]): string {
  if (citations.length === 0) return text;
  const lines = byIndex(citations).map((citation) => `[${citation.index}] ${citation.title}`);
  return `${text.trimEnd()}\n\n${lines.join("\n")}\n`;
}
