/** Estimates as words: the figure, and where it lies with 95 %. */

import type { Estimate } from "../api/comparison";

type Told = (value: number) => string;

/** A difference, with its sign. */
export const signed =
  (told: Told): Told =>
  (value) =>
    value > 0 ? `+${told(value)}` : value < 0 ? `−${told(-value)}` : told(0);

/** The bounds of an estimate, or how few it rests on; empty where there is none. */
export function boundsOf(
  estimate: Estimate | null,
  told: Told,
  words: { between: (low: string, high: string) => string; few: (count: number) => string },
): string {
  if (estimate === null) return "";
  if (estimate.low === null || estimate.high === null) return words.few(estimate.count);
  return words.between(told(estimate.low), told(estimate.high));
}
