/** Calls and wire shapes of where a pool's replicas come from. */

import type { Model } from "./engines";
import { api, type Page } from "./client";

export const KINDS = ["static", "dns", "kubernetes"] as const;
export type SourceKind = (typeof KINDS)[number];
export type SourceState = "static" | "waiting" | "found" | "failing" | "stale";

export interface SourceDocument {
  kind: SourceKind;
  model: string;
  /** Empty: as the model is called here. */
  served_name: string;
  /** 0: the usual number. */
  max_concurrency: number;
  vllm: boolean;
  scheme: "http" | "https";
  /** 0: told by the record, or the only one of the Service. */
  port: number;
  name: string;
  record: "address" | "srv";
  service: string;
  namespace: string;
  selector: string;
  port_name: string;
}

export interface Source {
  document: SourceDocument;
  has_api_key: boolean;
  state: SourceState;
  /** When it was last known who is there, and how many took calls then. */
  discovered_at: string | null;
  found: number;
  problem: string;
  updated_at: string | null;
  version: string;
}

/** `api_key` is left as it is when it is left out, and removed when it is empty. */
export type SourceBody = Partial<SourceDocument> & { api_key?: string };

const path = (pool: string) => `/pools/${pool}/source`;

export const fetchSource = (pool: string, signal?: AbortSignal) => api.get<Source>(path(pool), signal ? { signal } : {});
export const saveSource = (pool: string, body: SourceBody, ifMatch?: string) => api.put<Source>(path(pool), body, { ifMatch });
export const lookAgain = (pool: string) => api.post<Source>(`${path(pool)}/look`, {});
export const fetchSourceModels = () => api.get<Page<Model>>("/models?built_in=false&sort=id&limit=200");
