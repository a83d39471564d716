/** Amounts as people type them: whole numbers, money in units with decimals, storage in megabytes. Pure. */

import type { Measure } from "../api/limits";

const NANO = 1_000_000_000;
// As `format.bytes` shows it: what was typed is what is read.
const MEGABYTE = 1_000_000;

export const isMoney = (measure: Measure): boolean => measure.startsWith("money");
export const isBytes = (measure: Measure): boolean => measure === "storage_bytes";
/** What is there, and not what is called: keys and models have none. */
export const isStock = (measure: Measure): boolean => isBytes(measure) || measure === "documents";

const unitOf = (measure: Measure): number => (isMoney(measure) ? NANO : isBytes(measure) ? MEGABYTE : 1);

/** What is sent for what was typed; null for nothing. */
export function amountOf(typed: number | null, measure: Measure): number | null {
  const unit = unitOf(measure);
  return typed === null || unit === 1 ? typed : Math.round(typed * unit);
}

/** What stands in the field for an amount. */
export function typedOf(amount: number | null, measure: Measure): number | null {
  return amount === null ? amount : amount / unitOf(measure);
}
