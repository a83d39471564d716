/** Calls and wire shapes of operators' leave to read a tenant's content. */

import { api } from "./client";

export interface BreakGlass {
  id: string;
  operator: string;
  reason: string;
  state: "open" | "over" | "ended";
  created_at: string;
  expires_at: string;
  ended_at: string | null;
  ended_by: string;
  /** It is of the one who asks. */
  mine: boolean;
  /** How often content was asked for by it. */
  reads: number;
}

export const fetchBreakGlass = (signal?: AbortSignal) => api.get<{ results: BreakGlass[] }>("/break-glass", { signal });
export const openBreakGlass = (reason: string, minutes: number) => api.post<BreakGlass>("/break-glass", { reason, minutes });
export const endBreakGlass = (id: string) => api.delete(`/break-glass/${id}`);
