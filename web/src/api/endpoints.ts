/** Every question the chat asks the server, one function each. */

import { api } from "./browser";
import type { CallOptions } from "./client";
import type {
  Assistant,
  Conversation,
  DocumentState,
  KnowledgeBase,
  KnowledgeDocument,
  Me,
  Model,
  Page,
  PassageWindow,
  SearchAnswer,
  StoredMessage,
} from "./types";

const id = encodeURIComponent;

/** Collects a cursor listing; `limit` bounds how many pages are followed. */
export async function allPages<T>(first: string, limit = 20): Promise<T[]> {
  const collected: T[] = [];
  let path: string | null = first;
  for (let page = 0; path !== null && page < limit; page += 1) {
    const answer: Page<T> = await api.get<Page<T>>(path);
    collected.push(...answer.results);
    path = answer.next;
  }
  return collected;
}

export const fetchMe = () => api.get<Me>("/me");
export const fetchAssistants = () => allPages<Assistant>("/assistants");
export const createAssistant = (body: Partial<Assistant>) => api.post<Assistant>("/assistants", body);
export const updateAssistant = (slug: string, body: Partial<Assistant>) =>
  api.patch<Assistant>(`/assistants/${id(slug)}`, body);
export const fetchModels = () => allPages<Model>("/models");

export const fetchConversations = (cursor: string | null) =>
  api.get<Page<Conversation>>(cursor ?? "/conversations");
export const fetchConversation = (conversation: string) =>
  api.get<Conversation>(`/conversations/${id(conversation)}`);
export const renameConversation = (conversation: string, title: string) =>
  api.patch<Conversation>(`/conversations/${id(conversation)}`, { title });
export const deleteConversation = (conversation: string, options: CallOptions = {}) =>
  api.delete(`/conversations/${id(conversation)}`, options);
export const fetchMessages = (conversation: string, cursor: string | null = null) =>
  api.get<Page<StoredMessage>>(cursor ?? `/conversations/${id(conversation)}/messages`);

export const fetchKnowledgeBases = () => allPages<KnowledgeBase>("/knowledge-bases");
export const fetchKnowledgeBase = (base: string) => api.get<KnowledgeBase>(`/knowledge-bases/${id(base)}`);
export const createKnowledgeBase = (name: string) => api.post<KnowledgeBase>("/knowledge-bases", { name });
export const renameKnowledgeBase = (base: string, name: string) =>
  api.patch<KnowledgeBase>(`/knowledge-bases/${id(base)}`, { name });
export const deleteKnowledgeBase = (base: string) => api.delete(`/knowledge-bases/${id(base)}`);

export const fetchDocuments = (base: string, cursor: string | null = null) =>
  api.get<Page<KnowledgeDocument>>(cursor ?? `/knowledge-bases/${id(base)}/documents`);
/** How many documents are in preparation; counts to a few only, to know whether there are any. */
export async function countPending(base: string): Promise<number> {
  const path = `/knowledge-bases/${id(base)}/documents?limit=5&state=`;
  const states: DocumentState[] = ["queued", "processing"];
  const pages = await Promise.all(states.map((state) => api.get<Page<KnowledgeDocument>>(path + state)));
  return pages.reduce((sum, page) => sum + page.results.length, 0);
}
export const retryDocument = (base: string, document: string) =>
  api.post<KnowledgeDocument>(`/knowledge-bases/${id(base)}/documents/${id(document)}/retry`);
export const deleteDocument = (base: string, document: string) =>
  api.delete(`/knowledge-bases/${id(base)}/documents/${id(document)}`);
export const fetchDocument = (document: string) => api.get<KnowledgeDocument>(`/documents/${id(document)}`);
export const fetchPassages = (document: string, around: string, options: CallOptions = {}) =>
  api.get<PassageWindow>(`/documents/${id(document)}/passages?around=${id(around)}`, options);
export const searchKnowledge = (base: string, query: string, options: CallOptions = {}) =>
  api.post<SearchAnswer>(`/knowledge-bases/${id(base)}/search`, { query, limit: 8 }, options);

interface LimitStanding {
  level: string;
  subject: string;
  name: string;
  measure: string;
  state: string;
  resets_at: string | null;
}

/** The limits that hold for the one who asks, with how they stand. */
export const fetchLimits = (signal: AbortSignal) =>
  api.get<{ results: LimitStanding[] }>("/quotas", { signal });
