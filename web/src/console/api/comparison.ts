/** Calls and wire shapes of what copies of answered calls have shown. */

import { api } from "./client";

export const COMPARISON_RANGES = ["1h", "24h", "7d"] as const;
export type ComparisonRange = (typeof COMPARISON_RANGES)[number];

export interface Spread {
  p50: number | null;
  p95: number | null;
}

export interface Estimate {
  value: number;
  /** 95 % of it; null where there are too few pairs. */
  low: number | null;
  high: number | null;
  count: number;
}

export interface SideFigures {
  first_ms: Spread;
  total_ms: Spread;
  prompt_tokens: number;
  completion_tokens: number;
  cost_nano: number;
  ends: Record<string, number>;
}

export interface ComparisonStep {
  start: string;
  compared: number;
  answered_ms: number | null;
  copied_ms: number | null;
  agreement: number | null;
}

export interface Comparison {
  model: string;
  shadow: string;
  /** What the policy says now; null: no longer copied. */
  percent: number | null;
  compared: number;
  failed: number;
  dropped: number;
  causes: Record<string, number>;
  answered: SideFigures;
  copied: SideFigures;
  first_ms: Estimate | null;
  total_ms: Estimate | null;
  cost_nano: Estimate | null;
  failures: Estimate | null;
  agreement: Estimate | null;
  same: Estimate | null;
  steps: ComparisonStep[];
}

export interface Compared {
  start: string;
  end: string;
  step_s: number;
  pairs: number;
  whole: boolean;
  results: Comparison[];
}

export const fetchComparison = (range: ComparisonRange, signal?: AbortSignal) =>
  api.get<Compared>(`/routing/shadows?range=${range}`, { signal });
