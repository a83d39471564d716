/** Calls and wire shapes of the console's area "requests". */

import { api, inScope } from "./client";

export type RequestState = "slow" | "failed" | "refused" | "sampled" | "completed" | "cancelled";

/** Where one call went: each attempt is a replica with the terms of its score, in milliseconds and tokens. */
export interface Decision {
  id: string;
  request_id: string;
  tenant: string;
  started_at: string;
  state: RequestState;
  model: string;
  pool: string;
  replica: string;
  queue_ms: number;
  first_byte_ms: number;
  choice: Record<string, string | number | boolean>;
  attempts: Partial<Record<"read_ms" | "load_ms" | "standing_ms" | "stranger_ms" | "trial_ms" | "cached_tokens", number>>[];
}

export interface KeptRequest {
  id: string;
  request_id: string;
  trace_id: string;
  tenant: string;
  user: string;
  api_key: string;
  door: string;
  route: string;
  state: RequestState;
  status: number;
  error: string;
  model: string;
  assistant: string;
  pool: string;
  replica: string;
  cache: string;
  stream: boolean;
  prompt_tokens: number;
  completion_tokens: number;
  cost_nano: number;
  queue_ms: number;
  first_byte_ms: number;
  total_ms: number;
  started_at: string;
}

export interface Hop {
  name: string;
  at_ms: number;
  ms: number;
  facts: Record<string, string | number | boolean>;
}

export interface RequestPart extends KeptRequest {
  hops: Hop[];
  traced: boolean;
}

export interface RequestWay {
  summary: RequestPart;
  traces: RequestPart[];
  calls: RequestPart[];
}

export const fetchRequest = (id: string, signal: AbortSignal) =>
  api.get<RequestWay>(inScope(`/requests/${encodeURIComponent(id)}`), { signal });
