/** Calls and wire shapes of how many replicas a pool is to have. */

import { api, type Page } from "./client";

export const MODES = ["off", "dry_run", "on"] as const;
export type Mode = (typeof MODES)[number];

export interface Schedule {
  from_time: string;
  until_time: string;
  replicas: number;
  /** 0 is Monday; none: every day. */
  days: number[];
}

export interface ScalingDocument {
  mode: Mode;
  minimum: number;
  maximum: number;
  critical_floor: number;
  tokens_per_replica: number;
  ttft_ms: number;
  tpot_ms: number;
  drain_s: number;
  start_s: number;
  down_after_s: number;
  idle_s: number;
  wake_s: number;
  replica_hourly_nano: number;
  budget_hourly_nano: number;
  timezone: string;
  schedules: Schedule[];
}

export interface Scaling extends ScalingDocument {
  can_act: boolean;
  wakefulness: "awake" | "asleep" | "waking";
  /** Seconds from the call that woke the pool to a replica, the last times. */
  starts_in_s: number | null;
  updated_at: string | null;
  version: string;
}

export type Why =
  | "demand"
  | "backlog"
  | "trend"
  | "slo"
  | "wake"
  | "held"
  | "idle"
  | "minimum"
  | "schedule"
  | "critical"
  | "maximum"
  | "budget";

export interface Decision {
  id: string;
  at: string;
  mode: Mode;
  desired: number;
  provisioned: number;
  ready: number;
  need: number;
  reasons: { why: Why; replicas: number }[];
  outcome: string;
}

export const fetchScaling = (pool: string, signal?: AbortSignal) =>
  api.get<Scaling>(`/pools/${pool}/scaling`, signal ? { signal } : {});
export const fetchDecisions = (pool: string, signal: AbortSignal) =>
  api.get<Page<Decision>>(`/pools/${pool}/scaling/decisions?limit=200`, { signal });
export const saveScaling = (pool: string, body: ScalingDocument, ifMatch?: string) =>
  api.put<Scaling>(`/pools/${pool}/scaling`, body, { ifMatch });
