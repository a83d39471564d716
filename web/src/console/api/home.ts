/** The figures of the first page, in one answer; a section that one may not see is null. */

import { api, inScope } from "./client";
import type { Range } from "../kit/ranges";

export interface Latency {
  p50: number | null;
  p95: number | null;
}

export interface Totals {
  requests: number;
  completed: number;
  cancelled: number;
  failed: number;
  prompt_tokens: number;
  completion_tokens: number;
  cost_nano: number;
  first_token_ms: Latency;
  total_ms: Latency;
}

export interface UsageGroup {
  group: string;
  label: string;
  /** Its first tokens come much later than those of the groups beside it. */
  slow: boolean;
  totals: Totals;
}

export interface Series {
  /** Unix seconds. */
  times: number[];
  requests: number[];
  failed: number[];
  cancelled: number[];
  prompt_tokens: number[];
  completion_tokens: number[];
  cost_nano: number[];
  first_token_p50_ms: (number | null)[];
  first_token_p95_ms: (number | null)[];
}

export interface Usage {
  step_s: number;
  series: Series;
  totals: Totals;
  previous: Totals;
  tenants: UsageGroup[] | null;
  /** Of the busiest tenants, those that wait longest; and what the one in the middle waits, at p95. */
  slowest: UsageGroup[] | null;
  usual_first_token_ms: number | null;
  models: UsageGroup[];
  assistants: UsageGroup[] | null;
  users: UsageGroup[] | null;
}

export type PartState = "ok" | "degraded" | "down";

export interface Part {
  name: string;
  state: PartState;
  ms: number | null;
  detail: string;
}

export interface PoolNow {
  id: string;
  name: string;
  region: string;
  state: string;
  up: number;
  down: number;
  draining: number;
  running: number;
  waiting: number;
  slots: number;
}

export interface Some<T> {
  count: number;
  items: T[];
}

export interface FailedDocument {
  id: string;
  title: string;
  error: string;
  error_code: string;
  knowledge_base_id: string;
  knowledge_base: string;
  failed_at: string;
  tenant: string | null;
}

export interface ExpiringKey {
  id: string;
  prefix: string;
  name: string;
  expires_at: string;
  last_used_at: string | null;
  /** It was rotated, and the new key has not been used yet. */
  replaced: boolean;
  tenant: string | null;
}

export interface FailedJob {
  id: string;
  kind: string;
  error: string;
  failed_at: string;
  tenant: string | null;
}

export interface SuspendedTenant {
  id: string;
  slug: string;
  name: string;
}

/** An identity provider whose domains no operator has verified yet. */
export interface WaitingDomains {
  id: string;
  name: string;
  domains: string[];
  tenant: string | null;
}

/** An operator who may read content of the tenant now. */
export interface OpenGrant {
  id: string;
  operator: string;
  reason: string;
  expires_at: string;
}

export interface Act {
  id: string;
  at: string;
  act: string;
  kind: string;
  object_id: string;
  label: string;
  actor_kind: "user" | "key" | "command" | "system";
  actor: string;
  request_id: string;
  tenant_id: string | null;
}

export interface Overview {
  range: Range;
  scope: "tenant" | "platform";
  start: string;
  end: string;
  usage: Usage | null;
  health: { state: PartState; checked_at: string; parts: Part[] };
  pools: PoolNow[] | null;
  failed_documents: Some<FailedDocument> | null;
  expiring_keys: Some<ExpiringKey> | null;
  failed_jobs: Some<FailedJob> | null;
  suspended_tenants: Some<SuspendedTenant> | null;
  waiting_domains: Some<WaitingDomains> | null;
  open_grants: Some<OpenGrant> | null;
  acts: Act[] | null;
}

/** Whether a tenant has what it begins with. */
export interface Beginnings {
  knowledge: boolean;
  assistant: boolean;
  people: boolean;
}

interface Rows {
  results: unknown[];
}

/** Three small looks, for a tenant that is still quiet. */
export async function fetchBeginnings(signal: AbortSignal): Promise<Beginnings> {
  const [bases, assistants, people] = await Promise.all([
    api.get<Rows>("/knowledge-bases?limit=1", { signal }),
    api.get<Rows>("/assistants?limit=1", { signal }),
    api.get<Rows>("/users?limit=2", { signal }),
  ]);
  return { knowledge: bases.results.length > 0, assistant: assistants.results.length > 0, people: people.results.length > 1 };
}

export const fetchOverview = (range: Range, signal: AbortSignal) =>
  api.get<Overview>(inScope("/overview", { range }), { signal });
