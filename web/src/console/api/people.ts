/** Calls and wire shapes of tenants, members, invitations and API keys. */

import type { Page, Role } from "../../api/types";
import { api } from "./client";

export type { Role };
export type Priority = "critical" | "interactive" | "standard" | "batch";
export const ROLES: readonly Role[] = ["owner", "admin", "member", "viewer"];
export const PRIORITIES: readonly Priority[] = ["critical", "interactive", "standard", "batch"];

export interface Tenant {
  id: string;
  slug: string;
  name: string;
  state: "active" | "suspended" | "deleting";
  timezone: string;
  region: string;
  priority_class: Priority;
  weight: number;
  is_demo: boolean;
  members: number;
  keys: number;
  created_at: string;
  version: string;
}

export interface Member {
  id: string;
  email: string;
  name: string;
  role: Role;
  disabled: boolean;
  created_at: string;
  last_used_at: string | null;
  /** One of the tenant's own roles, which says what they may in place of `role`. */
  custom_role: { id: string; name: string } | null;
  version: string;
}

/** A browser's session of a member, bound to the tenant at hand. */
export interface Session {
  id: string;
  current: boolean;
  tenant: string;
  device: string;
  user_agent: string;
  address: string;
  created_at: string;
  last_seen_at: string;
  expires_at: string;
}

export type InvitationState = "open" | "expired" | "accepted" | "withdrawn";

export interface Invitation {
  id: string;
  email: string;
  role: Role;
  custom_role: { id: string; name: string } | null;
  message: string;
  state: InvitationState;
  invited_by: string;
  mailed: boolean;
  created_at: string;
  sent_at: string;
  expires_at: string;
  accepted_at: string | null;
  version: string;
}

/** `link` is there when no mail went out: its only way to the person, shown once. */
export interface SentInvitation extends Invitation {
  link: string | null;
}

export interface NewTenant extends Tenant {
  owner: string;
  invitation: SentInvitation | null;
  joined: boolean;
}

export type KeyState = "valid" | "expiring" | "expired" | "revoked";

export interface ApiKey {
  id: string;
  prefix: string;
  name: string;
  role: Role;
  priority_class: Priority;
  user_id: string | null;
  user: string;
  /** The name of the service account whose key it is, else empty. */
  service_account: string;
  created_by_id: string | null;
  created_by: string;
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
  last_used_at: string | null;
  state: KeyState;
  replaces: string | null;
  replaced_by: string | null;
  custom_role: { id: string; name: string } | null;
  version: string;
}

export interface NewKey extends ApiKey {
  key: string;
}

export interface TenantInput {
  slug: string;
  name: string;
  priority_class: Priority;
  weight: number | null;
  timezone: string;
  region: string;
  owner_email: string;
  join: boolean;
}

export interface KeyInput {
  name: string;
  role?: Role;
  custom_role?: string;
  priority_class: Priority;
  expires_at: string | null;
  personal: boolean;
  service_account?: string;
}

/** Another tenant than the scope's: for the tenants page, which stands over all of them. */
const inside = (slug: string) => ({ headers: { "X-Atrium-Tenant": slug } });

export const fetchTenant = (id: string, signal?: AbortSignal) => api.get<Tenant>(`/tenants/${encodeURIComponent(id)}`, { signal });
export const openTenant = (body: Partial<TenantInput>, idempotencyKey: string) =>
  api.post<NewTenant>("/tenants", body, { idempotencyKey });
export const changeTenant = (id: string, body: Partial<Tenant>, ifMatch?: string) =>
  api.patch<Tenant>(`/tenants/${encodeURIComponent(id)}`, body, { ifMatch });

export const fetchMember = (id: string) => api.get<Member>(`/users/${id}`);
export const changeMember = (id: string, body: { role?: Role; custom_role?: string; disabled?: boolean }, ifMatch?: string) =>
  api.patch<Member>(`/users/${id}`, body, { ifMatch });
export const removeMember = (id: string, ifMatch?: string) => api.delete(`/users/${id}`, { ifMatch });
export const fetchMemberSessions = (id: string, signal: AbortSignal) =>
  api.get<Page<Session>>(`/users/${id}/sessions`, { signal });
export const endMemberSession = (id: string, session: string) => api.delete(`/users/${id}/sessions/${session}`);
export const endMemberSessions = (id: string) => api.delete(`/users/${id}/sessions`);
export const findMembers = (query: string, signal: AbortSignal) =>
  api.get<Page<Member>>(`/users?limit=10&sort=email&q=${encodeURIComponent(query)}`, { signal });
export const membersOf = (slug: string, signal: AbortSignal) =>
  api.get<Page<Member>>("/users?limit=5&sort=role", { signal, ...inside(slug) });
export const invitedTo = (slug: string, signal: AbortSignal) =>
  api.get<Page<Invitation>>("/invitations?limit=5&state=open", { signal, ...inside(slug) });
export const keysOf = (slug: string, signal: AbortSignal) =>
  api.get<Page<ApiKey>>("/api-keys?limit=5&state=valid,expiring&sort=expires_at", { signal, ...inside(slug) });

export const sendInvitation = (body: { email: string; role?: Role; custom_role?: string; message: string }) =>
  api.post<SentInvitation>("/invitations", body);
export const resendInvitation = (id: string) => api.post<SentInvitation>(`/invitations/${id}/resend`);
export const withdrawInvitation = (id: string) => api.delete(`/invitations/${id}`);

export const fetchKey = (id: string, signal?: AbortSignal) => api.get<ApiKey>(`/api-keys/${encodeURIComponent(id)}`, { signal });
export const createKey = (body: Partial<KeyInput>) => api.post<NewKey>("/api-keys", body);
export const rotateKey = (id: string, graceHours: number) =>
  api.post<NewKey>(`/api-keys/${id}/rotate`, { grace_hours: graceHours });
export const revokeKey = (id: string) => api.delete(`/api-keys/${id}`);

/** The first things of a new tenant. The same key sent again makes no second one. */
export const firstBase = (slug: string, name: string, idempotencyKey: string) =>
  api.post<{ id: string }>("/knowledge-bases", { name }, { idempotencyKey, ...inside(slug) });
export const firstAssistant = (
  slug: string,
  body: { slug: string; name: string; instructions: string; knowledge_base_ids: string[] },
  idempotencyKey: string,
) => api.post<{ slug: string }>("/assistants", body, { idempotencyKey, ...inside(slug) });
