/** Ranges of time that figures are asked for. */

export const RANGES = ["1h", "24h", "7d", "30d"] as const;
export type Range = (typeof RANGES)[number];

export const SECONDS: Record<Range, number> = { "1h": 3600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000 };

/** The range of an address; one that does not exist is the usual one. */
export function rangeOf(query: URLSearchParams, name = "range", usual: Range = "24h"): Range {
  const named = query.get(name);
  return RANGES.find((range) => range === named) ?? usual;
}
