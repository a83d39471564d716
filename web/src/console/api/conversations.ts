/** Calls and wire shapes of the console's area "conversations". */

import { api } from "./client";

export interface Conversation {
  id: string;
  title: string;
  assistant: string | null;
  created_at: string;
  updated_at: string;
}

const one = (id: string) => `/conversations/${encodeURIComponent(id)}`;

export const renameConversation = (id: string, title: string) => api.patch<Conversation>(one(id), { title });
export const deleteConversation = (id: string, leaving = false) =>
  api.delete(one(id), leaving ? { keepalive: true } : {});
export const exportConversation = (row: Conversation, form: "markdown" | "json") =>
  api.download(`${one(row.id)}/export?format=${form}`, `conversation.${form === "json" ? "json" : "md"}`);
