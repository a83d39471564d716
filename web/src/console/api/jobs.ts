/** Calls and wire shapes of the console's area "jobs". */

import { api, inScope } from "./client";

export type JobState = "queued" | "running" | "done" | "failed" | "cancelled";

export interface Job {
  id: string;
  tenant: string;
  kind: string;
  state: JobState;
  scheduled: boolean;
  attempts: number;
  max_attempts: number;
  error: string | null;
  progress_done: number | null;
  progress_total: number | null;
  progress_message: string;
  subject: { kind: string; id: string; title: string | null; knowledge_base_id: string | null } | null;
  run_after: string;
  created_at: string;
  updated_at: string;
  request_id: string;
  may_retry: boolean;
  may_cancel: boolean;
}

const one = (id: string) => `/jobs/${encodeURIComponent(id)}`;

export const fetchJob = (id: string, signal: AbortSignal) => api.get<Job>(inScope(one(id)), { signal });
export const fetchKinds = (signal: AbortSignal) => api.get<{ kinds: string[] }>("/jobs/kinds", { signal });
export const retryJob = (id: string) => api.post<Job>(inScope(`${one(id)}/retry`), {});
export const cancelJob = (id: string) => api.post<Job>(inScope(`${one(id)}/cancel`), {});
