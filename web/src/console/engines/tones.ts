/** The colour of a state; the word beside it says the same. */

import type { Model, PoolState, Replica, ReplicaState } from "../api/engines";

type Tone = "good" | "warn" | "danger" | "plain";

export const POOL_TONES: Record<PoolState, Tone> = {
  ok: "good",
  degraded: "warn",
  down: "danger",
  draining: "warn",
  empty: "plain",
  unknown: "plain",
};

export const REPLICA_TONES: Record<ReplicaState, Tone> = {
  healthy: "good",
  unhealthy: "danger",
  draining: "warn",
  unknown: "plain",
};

export const MODEL_TONES: Record<Model["state"], Tone> = {
  in_service: "good",
  without_replica: "warn",
  disabled: "plain",
};

/** What people call an engine: its host, as in its address. */
export function hostOf(replica: Replica, builtIn: string): string {
  if (replica.built_in) return builtIn;
  try {
    return new URL(replica.url).host;
  } catch {
    return replica.url;
  }
}
