/** Calls and wire shapes of service accounts: programs that belong to the tenant. */

import type { Page, Role } from "../../api/types";
import { api } from "./client";

export interface ServiceAccount {
  /** The id that usage, limits, groups and grants know it by, as a user. */
  id: string;
  name: string;
  description: string;
  role: Role;
  custom_role: { id: string; name: string } | null;
  disabled: boolean;
  /** Keys that work. */
  keys: number;
  groups: number;
  created_by: string;
  created_at: string;
  last_used_at: string | null;
  version: string;
}

interface RoleGiven {
  role?: Role;
  custom_role?: string;
}

export const fetchAccount = (id: string, signal?: AbortSignal) =>
  api.get<ServiceAccount>(`/service-accounts/${encodeURIComponent(id)}`, { signal });
export const findAccounts = (query: string, signal: AbortSignal) =>
  api.get<Page<ServiceAccount>>(`/service-accounts?limit=10&q=${encodeURIComponent(query)}`, { signal });
export const createAccount = (body: { name: string; description: string } & RoleGiven) =>
  api.post<ServiceAccount>("/service-accounts", body);
export const changeAccount = (id: string, body: { description?: string; disabled?: boolean } & RoleGiven, ifMatch?: string) =>
  api.patch<ServiceAccount>(`/service-accounts/${id}`, body, { ifMatch });
export const deleteAccount = (id: string) => api.delete(`/service-accounts/${id}`);
