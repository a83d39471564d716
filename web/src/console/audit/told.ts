/** How acts that concern limits are told: whose limit of what, and amounts in the units that people know. Pure. */

import type { AuditEvent } from "../api/audit";

/** What the page of limits calls levels and measures. */
export interface LimitWords {
  everyone: Record<string, string>;
  measures: Record<string, string>;
}

export interface AmountFormat {
  number(value: number): string;
  money(nano: number): string;
  bytes(value: number): string;
}

type Told = Pick<AuditEvent, "kind" | "label" | "object_id">;

// As the server writes it: `user ann@example.com tokens_per_day`; without a name it is everybody's.
const LIMIT = /^(tenant|group|user|key|model)(?: (.+))? ([a-z_]+)$/;

// Of people: `ann@example.com (member)`, or `(member, by the directory)`.
const PERSON = /^(.+) \((owner|admin|member|viewer)(?:, by the directory)?\)$/;

/** What an act was done to, as people call it; `roles` are the reader's words for roles. */
export function actLabel(act: Told, words: LimitWords, roles: Record<string, string> = {}): string {
  if (act.kind === "membership" || act.kind === "invitation") {
    const [, who, role] = PERSON.exec(act.label) ?? [];
    if (who !== undefined && role !== undefined) return `${who} (${roles[role] ?? role})`;
  }
  const [, level, name, measure] = (act.kind === "quota" && LIMIT.exec(act.label)) || [];
  const what = measure === undefined ? undefined : words.measures[measure];
  if (level === undefined || what === undefined) return act.label || act.object_id;
  const whose = name === undefined || name === "(each)" ? words.everyone[level] : name;
  return `${whose}: ${what}`;
}

/** How the amounts of an act are written; undefined where they are no amounts of a limit. */
export function actAmount(act: Told, format: AmountFormat): ((value: number) => string) | undefined {
  const measure = (act.kind === "quota" && LIMIT.exec(act.label)?.[3]) || undefined;
  if (measure === undefined) return undefined;
  if (measure.startsWith("money")) return (value) => format.money(value);
  return measure === "storage_bytes" ? (value) => format.bytes(value) : (value) => format.number(value);
}
