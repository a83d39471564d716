/** Calls and wire shapes of others' conversations, which an operator reads under a break-glass grant. */

import type { StoredMessage } from "../../api/types";
import { api, type Page } from "./client";
import type { Conversation } from "./conversations";
import { cursorOf, withQuery } from "./paths";

export interface InspectedConversation extends Conversation {
  /** `name` is empty once they have left the tenant. */
  owner: { kind: "user" | "key"; id: string; name: string };
}

const at = (id: string) => `/inspected-conversations/${encodeURIComponent(id)}`;

export const fetchInspected = (id: string, signal: AbortSignal) => api.get<InspectedConversation>(at(id), { signal });
export const fetchInspectedMessages = (id: string, next: string | null, signal?: AbortSignal) =>
  api.get<Page<StoredMessage>>(withQuery(`${at(id)}/messages`, { limit: 100, cursor: cursorOf(next) }), { signal });
