/** Calls and wire shapes of models, pools, replicas and the connection test. */

import { api, type Page } from "./client";
import { cursorOf, withQuery } from "./paths";
import type { SourceKind, SourceState } from "./sources";

export type ModelKind = "chat" | "embedding" | "rerank" | "transcription";
export type Tier = "light" | "heavy";
export type ReplicaState = "healthy" | "unhealthy" | "draining" | "unknown";
export type PoolState = "ok" | "degraded" | "down" | "draining" | "empty" | "unknown";

export interface Model {
  id: string;
  uuid: string;
  kind: ModelKind;
  tier: Tier;
  context_length: number;
  dimensions: number;
  /** Decimal text per million tokens. */
  input_price: string;
  output_price: string;
  built_in: boolean;
  enabled: boolean;
  restricted: boolean;
  /** What it takes beside text. */
  tools: boolean;
  images: boolean;
  tenants: string[];
  /** For how long an answer is kept; 0: never. What one costs that was given before, of the price. */
  cache_seconds: number;
  cached_price_percent: number;
  state: "in_service" | "without_replica" | "disabled";
  replica_count: number;
  notice: string;
  created_at: string;
  version: string;
}

export interface Pool {
  id: string;
  name: string;
  engine: string;
  region: string;
  built_in: boolean;
  models: string[];
  replica_count: number;
  source_kind: SourceKind;
  source_state: SourceState;
  state: PoolState;
  healthy: number;
  unhealthy: number;
  draining: number;
  running: number;
  slots: number;
  waiting: number;
  /** Only classes in which calls wait. */
  waiting_by_class: Partial<Record<"critical" | "interactive" | "standard" | "batch", number>>;
  version: string;
}

export interface Replica {
  id: string;
  pool_id: string;
  pool: string;
  model: string;
  kind: ModelKind;
  url: string;
  served_name: string;
  max_concurrency: number;
  region: string;
  draining: boolean;
  vllm: boolean;
  built_in: boolean;
  has_api_key: boolean;
  /** Which kind of source found it, and since when it names it no more. */
  origin: SourceKind;
  vanished_at: string | null;
  state: ReplicaState;
  since: string | null;
  checked_at: string | null;
  latency_ms: number | null;
  last_error: string;
  last_error_at: string | null;
  running: number;
  tokens_in_flight: number;
  load: Load | null;
  vitals: Vitals | null;
  /** Why it is left alone although it answers its health checks; else empty. */
  left_alone: string;
  left_alone_s: number;
  on_trial: boolean;
  version: string;
}

/** What the engine says of itself; tokens are counted since it began. */
export interface Load {
  running: number;
  waiting: number;
  kv_usage: number;
  made_tokens: number;
  prompt_tokens: number;
}

/** What all server processes have seen of a replica, of the last five minutes; null where none has. */
export interface Vitals {
  prefill_tps: number | null;
  ttft_ms: number | null;
  ttft_p99_ms: number | null;
  gap_ms: number | null;
  gap_p99_ms: number | null;
  distance_ms: number | null;
  kv_usage: number | null;
  hit_rate: number | null;
  restarts: number;
}

export interface Terms {
  cached_tokens: number;
  uncached_tokens: number;
  prefill_tps: number;
  read_s: number;
  load_s: number;
  standing_s: number;
  stranger_s: number;
  trial_s: number;
}

export type Standing = "chosen" | "open" | "full" | "out" | "left_alone";

export interface ExplainedReplica {
  id: string;
  region: string;
  standing: Standing;
  why: string;
  running: number;
  max_concurrency: number;
  tokens_in_flight: number;
  ahead_s: number;
  cost_s: number;
  speed_learned: boolean;
  terms: Terms;
}

export interface Explained {
  model: string;
  prompt_tokens: number;
  chosen: string;
  expected_wait_s: number | null;
  longest_wait_s: number;
  candidates: {
    model: string;
    pool: string;
    reason: string;
    chosen: string;
    waiting: number;
    expected_wait_s: number | null;
    replicas: ExplainedReplica[];
  }[];
  left_out: { model: string; why: "kind" | "takes" | "context" | "built_in" | "rules" }[];
}

export interface Price {
  id: string;
  model: string;
  input_price: string;
  output_price: string;
  valid_from: string;
  state: "planned" | "in_force" | "past";
  version: string;
}

export interface PlannedPrice {
  input_price: string;
  output_price: string;
  valid_from: string | null;
}

export interface EngineReport {
  url: string;
  reachable: boolean;
  problem: { code: string; message: string } | null;
  engine: string;
  version: string;
  vllm: boolean;
  models: { id: string; context_length: number; owner: string }[];
  latency: { tries: number; min_ms: number; median_ms: number } | null;
  first_tokens: {
    model: string;
    kind: ModelKind | null;
    first_token_ms: number | null;
    streams: boolean;
    tells_usage: boolean;
    dimensions: number;
    problem: string;
  } | null;
  took_ms: number;
}

export interface NewEngine {
  pool: string;
  model: string;
  url: string;
  served_name: string;
  kind?: ModelKind;
  api_key?: string;
  max_concurrency: number;
  context_length: number;
  region?: string;
  tier: Tier;
  input_price: string;
  output_price: string;
  dimensions?: number;
  vllm: boolean;
  tenants?: string[];
}

/** A model's id may hold slashes, which stay as they are in its address. */
const idPath = (id: string) => id.split("/").map(encodeURIComponent).join("/");

export const modelPath = (id: string) => `/models/${idPath(id)}`;
export const modelPage = (id: string) => `/console/models/${idPath(id)}`;
export const replicaPath = (replica: Replica) => `/pools/${replica.pool_id}/replicas/${replica.id}`;

export const fetchModel = (id: string, signal?: AbortSignal) => api.get<Model>(modelPath(id), signal ? { signal } : {});
export const fetchPools = (signal: AbortSignal) => api.get<Page<Pool>>("/pools?sort=name&limit=200", { signal });
export const fetchReplicas = (signal: AbortSignal) => api.get<Page<Replica>>("/replicas?sort=pool&limit=200", { signal });

/** The regions that any engine is in, by name. A pool's region is its replicas', where those name none. */
export async function fetchRegions(signal: AbortSignal): Promise<string[]> {
  const found = new Set<string>();
  for (const path of ["/pools", "/replicas"]) {
    let cursor: string | null = null;
    do {
      const page: Page<{ region: string }> = await api.get(withQuery(path, { limit: 200, cursor }), { signal });
      for (const each of page.results) if (each.region) found.add(each.region);
      cursor = cursorOf(page.next);
    } while (cursor !== null);
  }
  return [...found].sort((a, b) => a.localeCompare(b));
}
export const poolPage = (id: string) => `/console/models/+pool/${id}`;
export const fetchPool = (id: string, signal: AbortSignal) => api.get<Pool>(`/pools/${id}`, { signal });
export const fetchReplicasOf = (id: string, signal: AbortSignal) =>
  api.get<Page<Replica>>(`/pools/${id}/replicas?limit=200`, { signal });
export const explainCall = (model: string, content: string) =>
  api.post<Explained>("/routing/explain", { model, messages: [{ role: "user", content }] });
export const fetchReplica = (replica: Replica) => api.get<Replica>(replicaPath(replica));
export const fetchPrices = (id: string, signal: AbortSignal) =>
  api.get<Page<Price>>(`/model-prices?model=${encodeURIComponent(id)}&limit=100`, { signal });

export const planPrice = (model: string, planned: PlannedPrice) => api.post<Price>("/model-prices", { model, ...planned });
export const changePrice = (id: string, changed: Partial<PlannedPrice>, ifMatch?: string) =>
  api.patch<Price>(`/model-prices/${id}`, changed, { ifMatch });
export const withdrawPrice = (price: Price) => api.delete(`/model-prices/${price.id}`, { ifMatch: price.version });

export interface Saving {
  model: string;
  calls: number;
  given_again: number;
  given_alike: number;
  saved_tokens: number;
  saved_cost_nano: number;
}

export const fetchSavings = (signal: AbortSignal) => api.get<{ results: Saving[] }>("/model-savings", { signal });

export const testEngine = (url: string, apiKey: string, signal?: AbortSignal) =>
  api.post<EngineReport>("/engines/test", apiKey ? { url, api_key: apiKey } : { url }, signal ? { signal } : {});
export const testReplica = (id: string) => api.post<EngineReport>(`/replicas/${id}/test`, {});
export const registerEngine = (engine: NewEngine) => api.post<Replica>("/engines", engine);

/** Slugs of tenants, found by typing. */
export async function findTenants(query: string, signal: AbortSignal) {
  const page = await api.get<Page<{ slug: string; name: string }>>(
    `/tenants?limit=20&q=${encodeURIComponent(query)}`,
    { signal },
  );
  return page.results.map((tenant) => ({ value: tenant.slug, label: tenant.name, hint: tenant.slug }));
}
