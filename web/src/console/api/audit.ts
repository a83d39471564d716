/** Calls and wire shapes of the console's area "audit". */

import { api, inScope } from "./client";

export type Value = string | number | boolean | null | Value[] | { [name: string]: Value };

export interface AuditEvent {
  id: string;
  at: string;
  act: string;
  kind: string;
  object_id: string;
  label: string;
  actor_kind: string;
  actor: string;
  actor_id: string | null;
  address: string;
  request_id: string;
  before: Record<string, Value>;
  after: Record<string, Value>;
  tenant_id: string | null;
  tenant: string | null;
  seq: number | null;
  hash: string;
}

export interface Chain {
  chain: string;
  whole: boolean;
  rows: number;
  first: number;
  last: number;
  head: string;
  forgotten: number;
  bad: { seq: number | null; id: string | null; reason: string } | null;
}

export interface Verification {
  whole: boolean;
  chains: Chain[];
}

export const fetchEvent = (id: string, signal: AbortSignal) =>
  api.get<AuditEvent>(inScope(`/audit-events/${encodeURIComponent(id)}`), { signal });
export const verifyChain = () => api.get<Verification>(inScope("/audit-events/verification"));
export const downloadLines = (query: string) => api.download(inScope(`/audit-events?format=jsonl${query}`), "audit-events.jsonl");
