/** What a search of the palette found, from the wire. Pure. */

export type FindKind = "tenants" | "assistants" | "knowledge_bases" | "documents" | "models" | "conversations";

export interface Find {
  kind: FindKind;
  id: string;
  label: string;
  hint?: string | undefined;
  /** A console address. */
  href: string;
}

const KINDS: Record<string, FindKind> = {
  tenant: "tenants",
  assistant: "assistants",
  knowledge_base: "knowledge_bases",
  document: "documents",
  model: "models",
  conversation: "conversations",
};

const id = encodeURIComponent;

function hrefOf(kind: FindKind, row: Record<string, unknown>): string {
  const own = id(String(row.id));
  switch (kind) {
    case "tenants":
      return `/console/?in=${own}`;
    case "assistants":
      return `/console/assistants/${own}`;
    case "knowledge_bases":
      return `/console/knowledge/${own}`;
    case "documents":
      return `/console/knowledge/${id(String(row.knowledge_base_id ?? ""))}/${own}`;
    case "models":
      return `/console/models/${own}`;
    case "conversations":
      return `/console/conversations/${own}`;
  }
}

/** `{results: [{kind, id, label, hint?, href?}]}`; rows of kinds not known here are left out. */
export function readFinds(answer: unknown): Find[] {
  const rows = (answer as { results?: unknown }).results;
  if (!Array.isArray(rows)) return [];
  return rows.flatMap((row: Record<string, unknown>) => {
    const kind = KINDS[String(row.kind)];
    if (kind === undefined || row.id === undefined) return [];
    const hint = typeof row.hint === "string" && row.hint ? row.hint : undefined;
    const label = String(row.label ?? row.name ?? row.title ?? row.id);
    const href = typeof row.href === "string" && row.href.startsWith("/console/") ? row.href : hrefOf(kind, row);
    return [{ kind, id: String(row.id), label, hint, href }];
  });
}
