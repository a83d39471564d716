/** Calls and wire shapes of how a tenant's directory provisions it. */

import { api } from "./client";
import type { ProviderRole } from "./signin";

export type TokenState = "valid" | "expiring" | "expired" | "revoked";

export interface ScimToken {
  id: string;
  name: string;
  /** How its text begins. */
  hint: string;
  default_role: ProviderRole;
  state: TokenState;
  created_by: string;
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
}

export interface NewScimToken extends ScimToken {
  /** Its text, in this answer and never again. */
  token: string;
}

export interface Provisioning {
  address: string;
  tokens: ScimToken[];
}

export const fetchProvisioning = (signal?: AbortSignal) => api.get<Provisioning>("/provisioning", { signal });
export const createToken = (body: { name: string; default_role: ProviderRole; expires_at: string | null }) =>
  api.post<NewScimToken>("/provisioning/tokens", body);
export const rotateToken = (id: string, grace_hours: number) =>
  api.post<NewScimToken>(`/provisioning/tokens/${id}/rotate`, { grace_hours });
export const revokeToken = (id: string) => api.delete(`/provisioning/tokens/${id}`);
