/**
 * The wire shapes of `/api/v1` that the chat reads. Only fields that are used are named; the server
 * may send more. Ids are opaque strings, times are ISO 8601.
 */

export type Role = "owner" | "admin" | "member" | "viewer";

export interface Tenant {
  id?: string;
  slug: string;
  name: string;
}

export interface Membership {
  tenant: Tenant;
  role: Role;
}

export interface Me {
  user: { email: string; is_operator: boolean };
  tenant: Tenant;
  role: Role;
  permissions: string[];
  memberships: Membership[];
  /** The grant by which an operator who visits reads the tenant's content now. */
  break_glass?: { id: string; reason: string; expires_at: string } | null;
}

export interface Page<T> {
  results: T[];
  next: string | null;
  previous: string | null;
}

export interface Assistant {
  slug: string;
  name: string;
  description?: string;
  instructions?: string;
  model: string;
  knowledge_base_ids: string[];
  /** First questions that its maker proposes. */
  suggestions?: string[];
}

export interface Model {
  id: string;
  kind: string;
  /** Ships with the server: quotes passages, but is no language model. */
  built_in?: boolean;
  /** What its user must know. */
  notice?: string;
  replica_count?: number;
}

export interface Conversation {
  id: string;
  title: string;
  assistant: string | null;
  updated_at: string;
}

/** A passage that an answer used; `index` is the number in the answer's `[n]` marker. */
export interface Citation {
  index: number;
  document_id: string;
  title: string;
  chunk_id: string;
  text: string;
  score: number;
  url?: string | null;
  knowledge_base_id?: string | null;
}

export type MessageState = "completed" | "running" | "failed" | "stopped" | "cancelled";

export interface StoredMessage {
  id: string;
  role: "user" | "assistant" | "system" | "tool";
  content: string;
  state: MessageState;
  citations: Citation[] | null;
  model: string | null;
  created_at: string;
  error: string | { code?: string; message?: string } | null;
  error_code?: string;
}

export interface KnowledgeBase {
  id: string;
  name: string;
  description?: string;
  document_count?: number;
  created_at?: string;
  updated_at?: string;
}

export type DocumentState = "queued" | "processing" | "ready" | "failed";

export interface KnowledgeDocument {
  id: string;
  knowledge_base_id?: string;
  title: string;
  state: DocumentState;
  error: string | { code?: string; message?: string } | null;
  chunk_count: number | null;
  size_bytes?: number | null;
  media_type?: string | null;
  url?: string | null;
  created_at?: string;
  updated_at?: string;
}

export interface Passage {
  chunk_id: string;
  text: string;
  heading: string | null;
  position: number;
  /** From 1; 0 where the format has no pages. */
  page?: number;
}

export interface PassageWindow {
  document: KnowledgeDocument;
  passages: Passage[];
}

export interface SearchHit {
  document_id: string;
  external_id: string | null;
  title: string;
  chunk_id: string;
  text: string;
  score: number;
  vector_score: number | null;
  keyword_score: number | null;
}

export interface SearchAnswer {
  results: SearchHit[];
  took_ms: number;
}
