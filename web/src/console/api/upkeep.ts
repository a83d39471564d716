/** Calls and wire shapes of retention and of the system page. */

import { api } from "./client";

export interface RetentionDays {
  conversations_days: number | null;
  files_days: number | null;
  requests_days: number | null;
}

export interface Retention extends RetentionDays {
  requests_ceiling_days: number;
  updated_at: string | null;
  version: string;
}

export type KeptKind = "conversations" | "files" | "requests";

export interface Expiring {
  kind: KeptKind;
  count: number;
  total: number;
  oldest: string | null;
}

export interface PartVersion {
  part: string;
  version: string;
  state: "ok" | "away";
}

export interface ServerProcess {
  name: string;
  role: string;
  host: string;
  pid: number;
  version: string;
  started_at: string;
  seen_at: string;
  running: boolean;
}

export type Origin = "environment" | "file" | "default";

export interface ConfiguredValue {
  name: string;
  value: string;
  origin: Origin;
  file: string;
  secret: boolean;
  is_set: boolean;
}

export interface Licence {
  name: string;
  version: string;
  licence: string;
  kind: "python" | "npm";
}

export interface SystemFacts {
  profile: string;
  versions: PartVersion[];
  processes: ServerProcess[];
  configuration: ConfiguredValue[];
  schema: { newest: string[]; problem: string };
  database_bytes: number;
  disk: { path: string; total: number; free: number };
  licences: Licence[];
}

export const fetchRetention = (signal?: AbortSignal) => api.get<Retention>("/retention", { signal });
export const setRetention = (days: RetentionDays, ifMatch?: string) => api.put<Retention>("/retention", days, { ifMatch });
export const previewRetention = (days: RetentionDays, signal?: AbortSignal) =>
  api.post<{ results: Expiring[] }>("/retention/preview", days, { signal });
export const fetchSystem = (signal?: AbortSignal) => api.get<SystemFacts>("/system", { signal });
