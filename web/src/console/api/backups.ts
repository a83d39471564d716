/** Calls and wire shapes of the console's area "backups". */

import { ApiClient } from "../../api/client";
import { api, type Page } from "./client";

export type WorkState = "queued" | "running" | "done" | "failed";

export interface Work {
  /** What is being done; empty at the end. */
  step: string;
  done: number;
  /** 0: nobody knows. */
  total: number;
  error: string | null;
}

export interface Backup extends Work {
  id: string;
  state: WorkState;
  origin: "taken" | "scheduled" | "uploaded";
  by: string;
  created_at: string;
  finished_at: string | null;
  size_bytes: number;
  version: string;
  profile: string;
  consistent_at: string;
  seconds: number;
  files: number;
  file_bytes: number;
  points: number;
  missing_files: number;
  counts: Record<string, number>;
}

export interface RestorePlan {
  refusal: string;
  keyring: "same" | "other" | "given" | "";
  losses: string[];
  remarks: string[];
  replaces: Record<string, number>;
}

export interface RestoreOutcome {
  rows?: number;
  files?: number;
  points?: number;
  indexed_anew?: number;
  resumed?: number;
  swept?: number;
  seconds?: number;
  locked_seconds?: number;
  losses?: string[];
  keyring?: string;
}

export interface Restoration extends Work {
  state: WorkState | "none";
  backup_id: string;
  by: string;
  started_at: string | null;
  finished_at: string | null;
  outcome: RestoreOutcome;
}

export interface Keyring {
  /** By version. */
  fingerprints: Record<string, string>;
  origin: "file" | "environment";
  saved_at: string | null;
  saved_by: string;
  /** Password or factor were given again a moment ago. */
  reauthenticated: boolean;
}

export interface GivenKeyring {
  /** The text of a keyring file. */
  keyring: string;
  passphrase: string;
}

export function fetchKeyring(signal?: AbortSignal): Promise<Keyring> {
  return api.get<Keyring>("/backups/keyring", signal ? { signal } : {});
}

/** The content of the keyring's file, under the passphrase. */
export function saveKeyring(passphrase: string): Promise<Record<string, unknown>> {
  return api.post<Record<string, unknown>>("/backups/keyring", { passphrase });
}

export function fetchPlanWith(id: string, given: GivenKeyring): Promise<RestorePlan> {
  return api.post<RestorePlan>(`/backups/${id}/plan`, given);
}

export async function fetchBackups(signal?: AbortSignal): Promise<Backup[]> {
  return (await api.get<Page<Backup>>("/backups", signal ? { signal } : {})).results;
}

export function fetchRestoration(signal?: AbortSignal): Promise<Restoration> {
  return api.get<Restoration>("/backups/restore", signal ? { signal } : {});
}

export function fetchPlan(id: string, signal?: AbortSignal): Promise<RestorePlan> {
  return api.get<RestorePlan>(`/backups/${id}/plan`, signal ? { signal } : {});
}

export function takeBackup(): Promise<Backup> {
  return api.post<Backup>("/backups", {});
}

export function restoreBackup(id: string, confirm: string, given?: GivenKeyring): Promise<Restoration> {
  return api.post<Restoration>(`/backups/${id}/restore`, { confirm, ...given });
}

export function deleteBackup(id: string): Promise<void> {
  return api.delete(`/backups/${id}`);
}

export function uploadBackup(file: File, progress: (share: number) => void): Promise<Backup> {
  const form = new FormData();
  form.append("file", file);
  return api.upload<Backup>("/backups/upload", form, { progress });
}

/** Where its file is; given to whoever confirmed themselves a moment ago. */
export function fileAddress(id: string): string {
  return ApiClient.url(`/backups/${id}/file`);
}

export function atWork(state: string): boolean {
  return state === "queued" || state === "running";
}
