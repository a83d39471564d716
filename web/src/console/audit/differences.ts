/** What an act changed, a line for each value. Pure. */

import type { AuditEvent, Value } from "../api/audit";

export interface Difference {
  name: string;
  /** Null: it was not there. */
  before: string | null;
  after: string | null;
}

function shown(value: Value | undefined): string | null {
  if (value === undefined) return null;
  if (value === null || value === "") return "–";
  if (typeof value === "string") return value;
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) return value.length === 0 ? "–" : value.join(", ");
  return JSON.stringify(value);
}

export function differences(event: Pick<AuditEvent, "before" | "after">): Difference[] {
  const names = [...new Set([...Object.keys(event.before), ...Object.keys(event.after)])].sort();
  return names.map((name) => ({ name, before: shown(event.before[name]), after: shown(event.after[name]) }));
}

/** What people call a value; `words` are the reader's. */
export function fieldName(name: string, words: Record<string, string>): string {
  return words[name] ?? name.replaceAll("_", " ");
}

/** The same in one line, for a list. */
export function summary(event: Pick<AuditEvent, "before" | "after">, words: Record<string, string> = {}): string {
  return differences(event)
    .map((one) => `${fieldName(one.name, words)}: ${[one.before, one.after].filter((side) => side !== null).join(" → ")}`)
    .join("; ");
}
