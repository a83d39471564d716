/** Calls and wire shapes of one's own tenant, of archives and of the deletion of tenants. */

import type { Page } from "../../api/types";
import { api } from "./client";

export interface OwnTenant {
  id: string;
  slug: string;
  name: string;
  timezone: string;
  region: string;
  created_at: string;
  version: string;
}

export type ExportState = "queued" | "running" | "ready" | "failed" | "gone";

export interface Archive {
  id: string;
  tenant_id: string;
  state: ExportState;
  asked_by: string;
  reason: string;
  created_at: string;
  finished_at: string | null;
  expires_at: string | null;
  rows_done: number;
  rows_total: number;
  files: number;
  size: number;
  sha256: string;
  error: string;
}

export type DeletionState = "waiting" | "erasing" | "done" | "incomplete" | "withdrawn";

export interface Proof {
  at?: string;
  counted?: Record<string, number>;
  left?: Record<string, number>;
  traces?: Record<string, number>;
  on_record?: Record<string, number>;
  looked_for?: number;
}

export interface Deletion {
  id: string;
  tenant_id: string;
  slug: string;
  name: string;
  state: DeletionState;
  asked_by: string;
  reason: string;
  asked_at: string;
  due_at: string;
  finished_at: string | null;
  step: string;
  deleted: number;
  error: string;
  report: Proof;
}

/** Where archives are: of the own tenant, or, for operators, of any. */
const base = (tenant?: string) => (tenant ? `/tenants/${encodeURIComponent(tenant)}/exports` : "/tenant/exports");

export const fetchOwnTenant = (signal?: AbortSignal) => api.get<OwnTenant>("/tenant", { signal });
export const changeOwnTenant = (body: Partial<OwnTenant>, ifMatch?: string) => api.patch<OwnTenant>("/tenant", body, { ifMatch });
export const fetchArchives = async (tenant?: string, signal?: AbortSignal) => (await api.get<Page<Archive>>(base(tenant), { signal })).results;
export const makeArchive = (tenant: string | undefined, reason: string) => api.post<Archive>(base(tenant), { reason });
export const downloadArchive = (row: Archive, tenant?: string) => api.download(`${base(tenant)}/${row.id}/file`, `atrium-${row.id}.zip`);
export const removeArchive = (row: Archive) => api.delete(`/tenant/exports/${row.id}`);
export const askOwnDeletion = (confirm: string, reason: string) => api.post<Deletion>("/tenant/deletion", { confirm, reason });
export const askDeletion = (tenant: string, confirm: string, grace_hours: number) =>
  api.post<Deletion>(`/tenants/${encodeURIComponent(tenant)}/deletion`, { confirm, grace_hours });
export const withdrawDeletion = (tenant: string) => api.delete(`/tenants/${encodeURIComponent(tenant)}/deletion`);
export const fetchDeletions = async (signal?: AbortSignal) => (await api.get<Page<Deletion>>("/tenant-deletions", { signal })).results;
