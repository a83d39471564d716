/** What a page has seen of a pool while it was open: pure, so that it is tested. */

import type { Pool, Replica } from "../api/engines";
import type { Series } from "../kit/plot";

/** Five minutes of looks every two seconds. */
export const MOST_LOOKS = 150;
/** More curves than colours say nothing. */
export const MOST_CURVES = 6;

export interface Look {
  /** Unix seconds. */
  at: number;
  running: number;
  waiting: number;
  /** By the engine's address. */
  first: Record<string, number | null>;
  gap: Record<string, number | null>;
  /** Tokens of answers since the engine began. */
  made: Record<string, number | null>;
}

export function look(at: number, pool: Pool, replicas: readonly Replica[]): Look {
  const by = (value: (replica: Replica) => number | null | undefined) =>
    Object.fromEntries(replicas.map((replica) => [nameOf(replica), value(replica) ?? null]));
  return {
    at,
    running: pool.running,
    waiting: pool.waiting,
    first: by((replica) => replica.vitals?.ttft_ms),
    gap: by((replica) => replica.vitals?.gap_ms),
    made: by((replica) => replica.load?.made_tokens),
  };
}

/** One curve for each engine that was seen, the first of them only. */
export function curves(looks: readonly Look[], of: "first" | "gap"): Series[] {
  return named(looks, of).map((name) => ({ label: name, values: looks.map((one) => one[of][name] ?? null) }));
}

/** Tokens of answers in a second, between a look and the one before; nothing where the engine began anew meanwhile. */
export function rates(looks: readonly Look[]): Series[] {
  return named(looks, "made").map((name) => ({
    label: name,
    values: looks.map((one, at) => {
      const before = looks[at - 1];
      const now = one.made[name] ?? null;
      const then = before?.made[name] ?? null;
      if (!before || now === null || then === null || now < then || one.at <= before.at) return null;
      return (now - then) / (one.at - before.at);
    }),
  }));
}

function named(looks: readonly Look[], of: "first" | "gap" | "made"): string[] {
  return [...new Set(looks.flatMap((one) => Object.keys(one[of])))].slice(0, MOST_CURVES);
}

/** An engine's host, or its model where it has no address. */
export function nameOf(replica: Replica): string {
  try {
    return new URL(replica.url).host;
  } catch {
    return replica.url || replica.model;
  }
}
