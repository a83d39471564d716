/** Calls and wire shapes of a tenant's webhooks. */

import { api } from "./client";

export const EVENTS = [
  "limit.warned",
  "limit.reached",
  "api_key.expiring",
  "document.failed",
  "break_glass.began",
  "tenant.suspended",
  "tenant.resumed",
  "tenant.deletion_asked",
  "tenant.deletion_withdrawn",
] as const;

export type EventName = (typeof EVENTS)[number];
export type StopReason = "by_hand" | "failing" | "gone" | "secret";
export type DeliveryState = "waiting" | "delivered" | "failed";
export type Outcome =
  | "ok"
  | "refused"
  | "redirect"
  | "gone"
  | "timeout"
  | "unreachable"
  | "certificate"
  | "unknown_host"
  | "private"
  | "address"
  | "disabled"
  | "restored"
  | "secret";

export interface Webhook {
  id: string;
  name: string;
  url: string;
  events: EventName[];
  enabled: boolean;
  /** Why it is off; null: it is on. */
  stopped: StopReason | null;
  /** How its secret begins. */
  hint: string;
  second_secret_until: string | null;
  waiting: number;
  dropped: number;
  failures: number;
  last_success_at: string | null;
  created_by: string;
  created_at: string;
  version: string;
}

export interface IssuedWebhook {
  webhook: Webhook;
  /** In this answer and never again. */
  secret: string;
}

export interface Delivery {
  id: string;
  event: EventName | "webhook.test";
  state: DeliveryState;
  outcome: Outcome | null;
  status: number | null;
  took_ms: number | null;
  attempts: number;
  created_at: string;
  next_at: string | null;
  finished_at: string | null;
}

export interface WebhookFields {
  name: string;
  url: string;
  events: EventName[];
}

export const fetchWebhooks = (signal?: AbortSignal) => api.get<{ results: Webhook[] }>("/webhooks", { signal });
export const fetchWebhook = (id: string, signal?: AbortSignal) => api.get<Webhook>(`/webhooks/${id}`, { signal });
export const createWebhook = (body: WebhookFields) => api.post<IssuedWebhook>("/webhooks", body);
export const changeWebhook = (id: string, body: Partial<WebhookFields & { enabled: boolean }>, ifMatch?: string) =>
  api.patch<Webhook>(`/webhooks/${id}`, body, { ifMatch });
export const deleteWebhook = (id: string) => api.delete(`/webhooks/${id}`);
export const rotateSecret = (id: string, grace_hours: number) =>
  api.post<IssuedWebhook>(`/webhooks/${id}/rotate`, { grace_hours });
export const sendTest = (id: string) => api.post<Delivery>(`/webhooks/${id}/test`);
