/** What the usage page asks for, as its address says it. Pure. */

import type { UsageQuery, UsageRow } from "../api/usage";

export const SPANS = [1, 7, 30, 90, 365] as const;
export type Span = (typeof SPANS)[number];

/** What one may narrow usage to by the address. */
export const FILTERS = ["model", "user", "key", "assistant", "origin", "tenant"] as const;
export type FilterName = (typeof FILTERS)[number];

const TENANT_GROUPS = ["model", "user", "key", "assistant", "origin", "day"] as const;
const PLATFORM_GROUPS = ["tenant", "model", "origin", "day"] as const;
export type Group = (typeof TENANT_GROUPS)[number] | (typeof PLATFORM_GROUPS)[number];

/** `all`: of everybody; own usage has one user. */
export const groupsOf = (platform: boolean, all = true): readonly Group[] =>
  platform ? PLATFORM_GROUPS : TENANT_GROUPS.filter((group) => all || group !== "user");

export function groupOf(query: URLSearchParams, platform: boolean, all = true): Group {
  const groups = groupsOf(platform, all);
  return groups.find((group) => group === query.get("by")) ?? groups[0]!;
}

/** The first page's ranges are known too: links lead from there. */
export function spanOf(query: URLSearchParams): Span | null {
  if (query.get("from") !== null || query.get("to") !== null) return null;
  const days = { "1h": 1, "24h": 1 }[query.get("range") ?? ""] ?? parseInt(query.get("range") ?? "30", 10);
  return SPANS.find((span) => span === days) ?? 30;
}

/** The calendar day of a moment in a time zone, as 2026-11-24. */
export function dayIn(zone: string, moment: Date): string {
  return new Intl.DateTimeFormat("en-CA", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" }).format(moment);
}

/** `days` calendar days before a day. */
export function daysBefore(day: string, days: number): string {
  const moment = new Date(`${day}T12:00:00Z`);
  moment.setUTCDate(moment.getUTCDate() - days);
  return moment.toISOString().slice(0, 10);
}

const DAY = /^\d{4}-\d{2}-\d{2}$/;

export function daysOf(query: URLSearchParams, today: string): { from: string; to: string } {
  const span = spanOf(query);
  if (span !== null) return { from: daysBefore(today, span - 1), to: today };
  const [from, to] = [query.get("from") ?? "", query.get("to") ?? ""];
  const last = DAY.test(to) ? to : today;
  return { from: DAY.test(from) ? from : daysBefore(last, 29), to: last };
}

/** Everything but the grouping. Who may not see `all` asks for their own. */
export function questionOf(query: URLSearchParams, platform: boolean, today: string, zone: string, all = true): UsageQuery {
  const asked: UsageQuery = { ...daysOf(query, today), tz: zone };
  for (const name of FILTERS) {
    const known = platform ? ["tenant", "model", "origin"].includes(name) : name !== "tenant";
    if (known) asked[name] = query.get(name);
  }
  if (!platform && (!all || query.get("mine") === "1")) asked.mine = "true";
  return asked;
}

/** One row for each day from `from` to `to`, in order; days without usage are null. */
export function filled(rows: readonly UsageRow[], from: string, to: string): { day: string; row: UsageRow | null }[] {
  const found = new Map(rows.map((row) => [row.group, row]));
  const days = [];
  for (let day = from, left = 400; day <= to && left > 0; day = daysBefore(day, -1), left -= 1) {
    days.push({ day, row: found.get(day) ?? null });
  }
  return days;
}

/** Rows in the order of a column. */
export function ordered(rows: readonly UsageRow[], sort: string): UsageRow[] {
  const name = sort.replace(/^-/, "");
  const value = VALUES[name] ?? VALUES["cost"]!;
  const sign = sort.startsWith("-") ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    // What was not measured comes last, whatever the order.
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
    return sign * (typeof a === "string" ? a.localeCompare(String(b)) : a - Number(b));
  });
}

const VALUES: Record<string, (row: UsageRow) => number | string | null> = {
  name: (row) => row.label || row.group,
  requests: (row) => row.requests,
  failed: (row) => row.states.failed,
  in: (row) => row.prompt_tokens,
  out: (row) => row.completion_tokens,
  cost: (row) => row.cost_nano,
  first: (row) => row.first_token_ms.p95,
  total: (row) => row.total_ms.p95,
};
