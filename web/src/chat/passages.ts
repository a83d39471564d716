/** Passages as a reader wants them: neighbours overlap by design, a page should not say things twice. */

import type { Passage } from "../api/types";

const SHORTEST_OVERLAP = 20;
const LONGEST_OVERLAP = 2_000;

/** How many characters at the end of `before` are also the start of `after`; 0 for chance likeness. */
export function overlap(before: string, after: string): number {
  const most = Math.min(before.length, after.length, LONGEST_OVERLAP);
  for (let length = most; length >= SHORTEST_OVERLAP; length -= 1) {
    if (before.endsWith(after.slice(0, length))) return length;
  }
  return 0;
}

/**
 * Passages in the document's order, each once, repeated text taken out of the neighbours; the one
 * that is cited stays whole. A heading is kept where it changes.
 */
export function readable(passages: readonly Passage[], cited: string): Passage[] {
  const ordered = [...passages].sort((left, right) => left.position - right.position);
  const texts = ordered.map((passage) => passage.text);
  for (let place = 1; place < ordered.length; place += 1) {
    const shared = overlap(ordered[place - 1]!.text, ordered[place]!.text);
    if (shared === 0) continue;
    if (ordered[place]!.chunk_id === cited) {
      const before = texts[place - 1]!;
      texts[place - 1] = before.slice(0, Math.max(0, before.length - shared));
    } else {
      texts[place] = texts[place]!.slice(shared);
    }
  }
  return ordered
    .map((passage, place) => ({
      ...passage,
      text: texts[place]!.trim(),
      heading: place > 0 && ordered[place - 1]!.heading === passage.heading ? null : passage.heading,
    }))
    .filter((passage) => passage.text !== "" || passage.chunk_id === cited);
}

export interface Segment {
  text: string;
  code: boolean;
}

/** Inline code between backticks; the rest as it stands. Never HTML. */
export function segments(text: string): Segment[] {
  return text
    .split(/(`[^`\n]+`)/)
    .filter((part) => part !== "")
    .map((part) =>
      part.length > 2 && part.startsWith("`") && part.endsWith("`")
        ? { text: part.slice(1, -1), code: true }
        : { text: part, code: false },
    );
}
