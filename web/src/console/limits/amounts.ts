/** Amounts as people type them: whole numbers, and money in units with decimals. Pure. */

import type { Measure } from "../api/limits";

const NANO = 1_000_000_000;

export const isMoney = (measure: Measure): boolean => measure.startsWith("money");

/** What is sent for what was typed; null for nothing. */
export function amountOf(typed: number | null, measure: Measure): number | null {
  return typed === null || !isMoney(measure) ? typed : Math.round(typed * NANO);
}

/** What stands in the field for an amount. */
export function typedOf(amount: number | null, measure: Measure): number | null {
  return amount === null || !isMoney(measure) ? amount : amount / NANO;
}
