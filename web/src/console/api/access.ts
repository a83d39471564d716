/** Calls and wire shapes of groups and rights. */

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
