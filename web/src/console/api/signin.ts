/** Calls and wire shapes of what a tenant asks of people who sign in. */

import { api } from "./client";

export interface SignInRules {
  second_factor_required: boolean;
  /** The session that asks was opened with a second factor. */
  second_factor_here: boolean;
  version: string;
}

export const fetchRules = (signal?: AbortSignal) => api.get<SignInRules>("/sign-in", { signal });
export const saveRules = (second_factor_required: boolean, ifMatch?: string) =>
  api.put<SignInRules>("/sign-in", { second_factor_required }, { ifMatch });

export type Protocol = "oidc" | "saml";
export type ProviderRole = "admin" | "member" | "viewer";

/** Who has `value` in the claim is given one of the others. */
export interface MappingRule {
  value: string;
  group?: string;
  role?: string;
  custom_role?: string;
}

export interface Provider {
  id: string;
  name: string;
  protocol: Protocol;
  /** Of SAML the entity id. */
  issuer: string;
  client_id: string;
  has_secret: boolean;
  sso_url: string;
  certificates: string;
  enabled: boolean;
  create_members: boolean;
  default_role: ProviderRole;
  domains: string[];
  domains_verified: boolean;
  /** Which claim the rules look at. */
  groups_claim: string;
  mappings: MappingRule[];
  /** Leads people to the sign-in page that offers it. */
  sign_in_url: string;
  /** What the provider must allow. */
  redirect_uri: string;
  /** Of SAML alone. */
  acs_url: string;
  metadata_url: string;
  /** The latest sign-in of the last 30 days that was refused; `person` is whom an answer that was believed named. */
  last_refused: { at: string; reason: string; person: string } | null;
  created_at: string;
  version: string;
}

export interface ProviderBody {
  name: string;
  protocol?: Protocol;
  issuer: string;
  client_id: string;
  sso_url: string;
  certificates: string;
  /** XML that fills issuer, address and certificates. */
  metadata?: string;
  /** Left out it stays. */
  client_secret?: string;
  enabled: boolean;
  create_members: boolean;
  default_role: ProviderRole;
  domains: string[];
  groups_claim: string;
  mappings: MappingRule[];
}

export type StepName = "discovery" | "configuration" | "keys";

export interface ProviderReport {
  passed: boolean;
  steps: { step: StepName; passed: boolean; message: string }[];
  /** A dry sign-in: it shows what the provider says, and signs nobody in. */
  trial_url: string;
}

export const fetchProviders = (signal?: AbortSignal) =>
  api.get<{ results: Provider[]; redirect_uri: string }>("/identity-providers", { signal });
/** Those of another tenant than the scope's. */
export const fetchProvidersOf = (slug: string, signal: AbortSignal) =>
  api.get<{ results: Provider[] }>("/identity-providers", { signal, headers: { "X-Atrium-Tenant": slug } });
export const fetchProvider = (id: string) => api.get<Provider>(`/identity-providers/${id}`);
export const createProvider = (body: ProviderBody) => api.post<Provider>("/identity-providers", body);
export const changeProvider = (id: string, body: Partial<ProviderBody>, ifMatch?: string) =>
  api.patch<Provider>(`/identity-providers/${id}`, body, { ifMatch });
export const removeProvider = (id: string, ifMatch?: string) => api.delete(`/identity-providers/${id}`, { ifMatch });
export const testProvider = (id: string) => api.post<ProviderReport>(`/identity-providers/${id}/test`, {});
export const verifyDomains = (id: string, verified: boolean) =>
  api.put<Provider>(`/identity-providers/${id}/domains`, { verified });
