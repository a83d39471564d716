/** Calls and wire shapes of groups and rights. */

import type { Page, Role } from "../../api/types";
import { api } from "./client";

export interface MemberGroup {
  id: string;
  name: string;
  description: string;
  /** The directory's own id of a group that is provisioned from there, else empty. */
  external_id: string;
  members: number;
  created_at: string;
  version: string;
}

export interface GroupMember {
  id: string;
  email: string;
  name: string;
  disabled: boolean;
  added_at: string;
}

export const fetchGroup = (id: string, signal?: AbortSignal) =>
  api.get<MemberGroup>(`/groups/${encodeURIComponent(id)}`, { signal });
export const createGroup = (body: { name: string; description: string }) => api.post<MemberGroup>("/groups", body);
export const changeGroup = (id: string, body: Partial<{ name: string; description: string }>, ifMatch?: string) =>
  api.patch<MemberGroup>(`/groups/${id}`, body, { ifMatch });
export const deleteGroup = (id: string) => api.delete(`/groups/${id}`);
export const addGroupMembers = (id: string, userIds: string[]) =>
  api.post<MemberGroup>(`/groups/${id}/members`, { user_ids: userIds });
export const removeGroupMember = (id: string, userId: string) => api.delete(`/groups/${id}/members/${userId}`);

/** Members and service accounts whose name or address holds the text; the latter for those who may see them. */
export async function findWhoever(
  query: string,
  signal: AbortSignal,
  programs: boolean,
): Promise<{ value: string; label: string; hint: string }[]> {
  const text = encodeURIComponent(query);
  const [people, accounts] = await Promise.all([
    api.get<Page<{ id: string; email: string; name: string }>>(`/users?limit=10&sort=email&q=${text}`, { signal }),
    programs
      ? api.get<Page<{ id: string; name: string; description: string }>>(`/service-accounts?limit=5&q=${text}`, { signal })
      : { results: [] },
  ]);
  return [
    ...people.results.map((one) => ({ value: one.id, label: one.email, hint: one.name })),
    ...accounts.results.map((one) => ({ value: one.id, label: one.name, hint: one.description })),
  ];
}

export interface Permission {
  name: string;
  area: string;
  allows: string;
  /** It opens what people wrote. */
  content: boolean;
  roles: Role[];
  /** Whether the one who asks has it: nobody gives what they do not have. */
  mine: boolean;
}

export interface CustomRole {
  id: string;
  name: string;
  description: string;
  permissions: string[];
  members: number;
  keys: number;
  created_at: string;
  version: string;
}

export interface CustomRoleInput {
  name: string;
  description: string;
  permissions: string[];
}

export const fetchPermissions = (signal?: AbortSignal) => api.get<{ results: Permission[] }>("/permissions", { signal });
export const fetchRoles = (signal?: AbortSignal) => api.get<Page<CustomRole>>("/roles?limit=200", { signal });
export const createRole = (body: CustomRoleInput) => api.post<CustomRole>("/roles", body);
export const changeRole = (id: string, body: Partial<CustomRoleInput>, ifMatch?: string) =>
  api.patch<CustomRole>(`/roles/${id}`, body, { ifMatch });
export const fetchRole = (id: string) => api.get<CustomRole>(`/roles/${id}`);
export const deleteRole = (id: string) => api.delete(`/roles/${id}`);

export type ResourceKind = "assistant" | "knowledge_base" | "model";

export interface Subject {
  kind: "user" | "group";
  id: string;
  name: string;
  hint: string;
}

export interface Sharing {
  kind: ResourceKind;
  id: string;
  name: string;
  restricted: boolean;
  subjects: Subject[];
  version: string;
}

export interface Explanation {
  allowed: boolean;
  user: string;
  name: string;
  steps: { code: string; passed: boolean; text: string }[];
}

const thing = (kind: ResourceKind, id: string) => `kind=${kind}&id=${encodeURIComponent(id)}`;

export const fetchSharing = (kind: ResourceKind, id: string, signal?: AbortSignal) =>
  api.get<Sharing>(`/access?${thing(kind, id)}`, { signal });
export const saveSharing = (
  kind: ResourceKind,
  id: string,
  body: { restricted: boolean; subjects: { kind: Subject["kind"]; id: string }[] },
  ifMatch?: string,
) => api.put<Sharing>(`/access?${thing(kind, id)}`, body, { ifMatch });
export const findSubjects = (query: string, signal: AbortSignal) =>
  api.get<{ results: Subject[] }>(`/access/subjects?q=${encodeURIComponent(query)}`, { signal });
export const explainAccess = (kind: ResourceKind, id: string, user: string, signal?: AbortSignal) =>
  api.get<Explanation>(`/access/explain?${thing(kind, id)}&user=${user}`, { signal });
