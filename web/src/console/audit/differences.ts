/** What an act changed, a line for each value. Pure. */

import type { AuditEvent, Value } from "../api/audit";

export interface Difference {
  name: string;
  /** Null: it was not there. */
  before: string | null;
  after: string | null;
}

/** How what is true or false is said, and amounts where the act has any. */
export interface YesAndNo {
  yes: string;
  no: string;
  amount?: ((value: number) => string) | undefined;
  /** What codes mean, by the name of their value. */
  values?: Record<string, Record<string, string>> | undefined;
}

function shown(name: string, value: Value | undefined, said: YesAndNo): string | null {
  if (value === undefined) return null;
  if (value === null || value === "") return "–";
  if (typeof value === "boolean") return value ? said.yes : said.no;
  if (typeof value === "string") return said.values?.[name]?.[value] ?? value;
  if (typeof value === "number" && said.amount !== undefined) return said.amount(value);
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) return value.length === 0 ? "–" : value.join(", ");
  return JSON.stringify(value);
}

export function differences(event: Pick<AuditEvent, "before" | "after">, said: YesAndNo): Difference[] {
  const names = [...new Set([...Object.keys(event.before), ...Object.keys(event.after)])].sort();
  return names.map((name) => ({ name, before: shown(name, event.before[name], said), after: shown(name, event.after[name], said) }));
}

/** What people call a value; `words` are the reader's. */
export function fieldName(name: string, words: Record<string, string>): string {
  return words[name] ?? name.replaceAll("_", " ");
}

/** The same in one line, for a list. */
export function summary(event: Pick<AuditEvent, "before" | "after">, words: Record<string, string>, said: YesAndNo): string {
  return differences(event, said)
    // What was made without a value is not worth a word in a list.
    .filter((one) => one.before !== null || one.after !== "–")
    .map((one) => `${fieldName(one.name, words)}: ${[one.before, one.after].filter((side) => side !== null).join(" → ")}`)
    .join("; ");
}
