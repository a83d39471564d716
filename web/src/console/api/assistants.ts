/** Calls and wire shapes of assistants. */

import { api, type Page } from "./client";

export interface Assistant {
  id: string;
  slug: string;
  name: string;
  description: string;
  instructions: string;
  model: string;
  knowledge_base_ids: string[];
  suggestions: string[];
  semantic_cache_seconds: number;
  semantic_cache_threshold: number;
  /** Whether questions are compared by meaning here, or by their words alone. */
  semantic_cache_by_meaning: boolean;
  created_at: string;
  updated_at: string;
  deleted_at: string | null;
  version: string;
}

export interface AssistantValues {
  slug: string;
  name: string;
  description: string;
  instructions: string;
  model: string;
  knowledge_base_ids: string[];
  suggestions: string[];
  semantic_cache_seconds: number;
  semantic_cache_threshold: number;
}

export const INSTRUCTIONS_LIMIT = 100_000;
export const AUTO = "auto";

const at = (slug: string) => `/assistants/${encodeURIComponent(slug)}`;

export const findAssistants = (query: string, signal: AbortSignal) =>
  api.get<Page<Assistant>>(`/assistants?limit=10&sort=name&q=${encodeURIComponent(query)}`, { signal });
export const fetchAssistant = (slug: string, signal?: AbortSignal) =>
  api.get<Assistant>(at(slug), signal ? { signal } : {});
export const createAssistant = (values: Partial<AssistantValues>) => api.post<Assistant>("/assistants", values);
export const changeAssistant = (slug: string, values: Partial<AssistantValues>, ifMatch: string | undefined) =>
  api.patch<Assistant>(at(slug), values, { ifMatch });
export const deleteAssistant = (slug: string) => api.delete(at(slug));
export const clearAnswers = (slug: string) => api.delete(`${at(slug)}/semantic-cache`);
export const restoreAssistant = (slug: string) => api.post<Assistant>(`${at(slug)}/restore`, {});
export const duplicateAssistant = (slug: string) => api.post<Assistant>(`${at(slug)}/duplicate`, {});

/** Models that can answer, by id. */
export const fetchAnsweringModels = (signal: AbortSignal) =>
  api.get<Page<{ id: string; built_in: boolean; tier: string }>>("/models?kind=chat&in_service=true&sort=id&limit=200", {
    signal,
  });

export interface NamedBase {
  id: string;
  name: string;
  description?: string;
}

export async function findBases(query: string, signal: AbortSignal): Promise<NamedBase[]> {
  const page = await api.get<Page<NamedBase>>(`/knowledge-bases?limit=50&q=${encodeURIComponent(query)}`, { signal });
  return page.results;
}

/** A slug as the server takes it, from a name as people write it. */
export function slugOf(name: string): string {
  return name
    .normalize("NFKD")
    .replace(/ß/g, "ss")
    .replace(/[̀-ͯ]/g, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 64)
    .replace(/^-+|-+$/g, "");
}
