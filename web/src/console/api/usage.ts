/** Usage summed by day, model, user …, for the tenant of the scope or the whole platform. */

import { api, inScope } from "./client";
import type { Latency } from "./home";
import { withQuery } from "./paths";

export type { Latency } from "./home";

export interface Sums {
  requests: number;
  states: { completed: number; cancelled: number; failed: number };
  prompt_tokens: number;
  completion_tokens: number;
  cost_nano: number;
  first_token_ms: Latency;
  total_ms: Latency;
}

export interface UsageRow extends Sums {
  group: string;
  label: string;
  slow: boolean;
}

export interface UsageReport {
  results: UsageRow[];
  totals: Sums;
  more: boolean;
}

export type UsageQuery = Record<string, string | null>;

export const fetchUsage = (query: UsageQuery, signal: AbortSignal): Promise<UsageReport> =>
  api.get(inScope("/usage", query), { signal });

/** The days of one tenant, for operators in whatever scope they are. */
export const fetchTenantDays = (tenant: string, query: UsageQuery, signal: AbortSignal): Promise<UsageReport> =>
  api.get(withQuery("/usage", { ...query, group_by: "day", tenant, scope: "platform" }), { signal });

export const saveUsage = (query: UsageQuery, format: "csv" | "jsonl"): Promise<void> =>
  api.download(inScope("/usage", { ...query, format }), `usage.${format}`);

/** What is charged for a month: by group in a tenant, by tenant over the platform. */
export const saveChargeback = (period: string, as: "csv" | "jsonl") =>
  api.download(inScope("/chargeback", { period, format: as }), `chargeback-${period}.${as}`);
