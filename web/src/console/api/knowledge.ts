/** Calls and wire shapes of the console's area "knowledge". */

import { api, type Page } from "./client";

export type DocumentState = "queued" | "processing" | "ready" | "failed";

export interface Base {
  id: string;
  name: string;
  description: string;
  alpha: number;
  embedding_model: string;
  dimensions: number;
  document_count: number;
  states: Record<DocumentState, number>;
  version: string;
  deleted_at: string | null;
  created_at: string;
  updated_at: string;
}

export interface KnowledgeDocument {
  id: string;
  knowledge_base_id: string;
  title: string;
  external_id: string;
  url: string;
  media_type: string;
  file_name: string;
  size_bytes: number;
  metadata: Record<string, unknown>;
  state: DocumentState;
  error: string | null;
  error_code: string | null;
  chunk_count: number;
  page_count: number;
  version: number;
  revision: string;
  created_at: string;
  updated_at: string;
}

export interface RemovedDocument {
  id: string;
  knowledge_base_id: string;
  title: string;
  size_bytes: number;
  deleted_at: string;
}

export interface Hit {
  document_id: string;
  title: string;
  chunk_id: string;
  heading: string;
  position: number;
  page: number;
  text: string;
  score: number;
  vector_score: number | null;
  keyword_score: number | null;
  vector_rank: number | null;
  keyword_rank: number | null;
}

export interface SearchAnswer {
  results: Hit[];
  took_ms: number;
}

export type SearchMode = "hybrid" | "vector" | "keyword";

export interface Passage {
  chunk_id: string;
  text: string;
  heading: string;
  position: number;
  page: number;
}

interface BulkOutcome {
  done: number;
  remaining: number;
}

const at = encodeURIComponent;
const base = (id: string) => `/knowledge-bases/${at(id)}`;
const one = (id: string) => `/documents/${at(id)}`;

export const fetchBase = (id: string, signal?: AbortSignal) => api.get<Base>(base(id), signal ? { signal } : {});
export const createBase = (values: object) => api.post<Base>("/knowledge-bases", values);
export const changeBase = (id: string, values: object, ifMatch?: string) =>
  api.patch<Base>(base(id), values, ifMatch === undefined ? {} : { ifMatch });
export const deleteBase = (id: string) => api.delete(base(id));
export const restoreBase = (id: string) => api.post<Base>(`${base(id)}/restore`, {});

export const fetchDocument = (id: string, signal?: AbortSignal) =>
  api.get<KnowledgeDocument>(one(id), signal ? { signal } : {});
export const retryDocument = (row: { id: string; knowledge_base_id: string }) =>
  api.post<KnowledgeDocument>(`${base(row.knowledge_base_id)}/documents/${at(row.id)}/retry`, {});
export const retryDocuments = (id: string, ids?: string[]) =>
  api.post<BulkOutcome>(`${base(id)}/documents:retry`, ids === undefined ? {} : { document_ids: ids });
export const deleteDocument = (id: string) => api.delete(one(id));
export const deleteDocuments = (id: string, ids: string[]) =>
  api.post<BulkOutcome>(`${base(id)}/documents:delete`, { document_ids: ids });
export const restoreDocument = (id: string) => api.post<KnowledgeDocument>(`${one(id)}/restore`, {});
export const saveFile = (row: KnowledgeDocument) => api.download(`${one(row.id)}/file`, row.file_name || row.title);
export const fetchPassages = (id: string, signal: AbortSignal, around?: string) =>
  api.get<{ passages: Passage[] }>(`${one(id)}/passages?limit=20${around ? `&around=${at(around)}` : ""}`, { signal });

export const search = (id: string, question: { query: string; limit: number; mode: SearchMode; alpha?: number }) =>
  api.post<SearchAnswer>(`${base(id)}/search`, question);

export const upload = (id: string, file: File, progress: (share: number) => void, signal: AbortSignal) => {
  const form = new FormData();
  form.append("file", file);
  return api.upload<KnowledgeDocument>(`${base(id)}/documents`, form, { progress, signal });
};

export type Bases = Page<Base>;
