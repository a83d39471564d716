/** Calls and wire shapes of limits. */

import { api } from "./client";

export type Level = "tenant" | "group" | "user" | "key" | "model";

export const MEASURES = [
  "requests_per_minute",
  "tokens_per_minute",
  "concurrency",
  "tokens_per_day",
  "tokens_per_month",
  "money_per_day",
  "money_per_month",
  "storage_bytes",
  "documents",
] as const;
export type Measure = (typeof MEASURES)[number];

export interface Quota {
  id: string;
  level: Level;
  /** The id of the group, user, key or model; empty for the tenant, and for the rule of every one of its level. */
  subject: string;
  name: string;
  measure: Measure;
  limit: number | null;
  soft_limit: number | null;
  used: number;
  remaining: number | null;
  resets_at: string | null;
  state: "ok" | "warned" | "reached";
  origin: "own" | "inherited";
  version: string;
}

export interface QuotaRule {
  id: string;
  limit: number | null;
  soft_limit: number | null;
  version: string;
}

export interface NewQuota {
  level: Level;
  subject: string;
  measure: Measure;
  limit: number | null;
  soft_limit: number | null;
}

export const fetchQuotas = (signal?: AbortSignal) =>
  api.get<{ results: Quota[] }>("/quotas?view=all", { signal }).then((page) => page.results);
/** What holds for a person: their own limits, those of their groups, of the tenant and of models. */
export const fetchQuotasOf = (user: string) =>
  api.get<{ results: Quota[] }>(`/quotas?user=${encodeURIComponent(user)}`).then((page) => page.results);
/** What holds for the caller. */
export const fetchOwnQuotas = (signal?: AbortSignal) =>
  api.get<{ results: Quota[] }>("/quotas", { signal }).then((page) => page.results);
export const fetchQuota = (id: string) => api.get<QuotaRule>(`/quotas/${id}`);
export const createQuota = (body: NewQuota) => api.post<QuotaRule>("/quotas", body);
export const changeQuota = (id: string, body: Pick<NewQuota, "limit" | "soft_limit">, ifMatch?: string) =>
  api.put<QuotaRule>(`/quotas/${id}`, body, { ifMatch });
export const deleteQuota = (id: string, ifMatch: string) => api.delete(`/quotas/${id}`, { ifMatch });

interface Named {
  id: string;
  name?: string;
  email?: string;
  prefix?: string;
}

const LISTS: Partial<Record<Level, string>> = { group: "/groups", user: "/users", key: "/api-keys", model: "/models" };

/** Groups, users, keys or models that match what was typed. */
export async function findSubjects(level: Level, query: string, signal: AbortSignal) {
  const path = LISTS[level];
  if (path === undefined) return [];
  const page = await api.get<{ results: Named[] }>(`${path}?limit=20&q=${encodeURIComponent(query)}`, { signal });
  return page.results.map((row) => ({ value: row.id, label: row.name || row.email || row.prefix || row.id }));
}
