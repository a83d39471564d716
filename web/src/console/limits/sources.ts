/** Where the amount of a limit comes from, in words. Pure. */

import type { Level, Quota } from "../api/limits";

interface SourceWords {
  everyone: Record<Level, string>;
  of: { inherited: (everyone: string) => string; own: Record<Level, string> };
}

export function sourceOf(row: Pick<Quota, "level" | "origin">, words: SourceWords): string {
  return row.origin === "inherited" ? words.of.inherited(words.everyone[row.level]) : words.of.own[row.level];
}
