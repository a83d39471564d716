/** What needs somebody, the most urgent first, each with the place where one acts. Pure. */

import type { Beginnings, Overview } from "../api/home";

export type NeedKind = "part" | "pool" | "slow" | "job" | "document" | "key" | "tenant" | "grant" | "domains" | StepKind;

/** What a new installation or a new tenant still lacks. */
export type StepKind = "model" | "knowledge" | "assistant" | "people";

export interface Need {
  id: string;
  kind: NeedKind;
  tone: "danger" | "warn" | "plain";
  /** What it is about: a name. */
  name: string;
  /** Why, as the server says it. */
  reason: string;
  /** The reason's name, for words of our own. */
  code?: string;
  at: string | null;
  /** True when `at` lies ahead. */
  due?: boolean;
  tenant: string | null;
  href: string | null;
  /** Milliseconds to the first token: its own, and what is usual. */
  waits?: { own: number; usual: number };
}

const id = encodeURIComponent;

/** All of them stand in the list of the slowest. */
const MOST_SLOW = 3;

/** Built-in engines: a pool of these alone means that no language model is connected. */
const BUILT_IN = new Set(["atrium-extractive", "atrium-embedding"]);

/** An address in the tenant of the row; rows without one belong to the scope shown. */
function inTenant(path: string, tenant: string | null): string {
  if (tenant === null) return path;
  return `${path}${path.includes("?") ? "&" : "?"}in=${id(tenant)}`;
}

/** The next steps of a tenant that has just begun, in the order in which one takes them. */
function stepsOf(begun: Beginnings, may: (permission: string) => boolean): Need[] {
  const steps: [StepKind, boolean, string, string][] = [
    ["knowledge", begun.knowledge, "knowledge.write", "/console/knowledge"],
    ["assistant", begun.assistant, "assistants.write", "/console/assistants/+new"],
    ["people", begun.people, "users.write", "/console/members"],
  ];
  return steps
    .filter(([, there, permission]) => !there && may(permission))
    .map(([kind, , , href]) => ({ id: kind, kind, tone: "plain", name: "", reason: "", at: null, tenant: null, href }));
}

export function needsOf(overview: Overview, may: (permission: string) => boolean, begun: Beginnings | null = null): Need[] {
  const operator = may("platform.operate");
  const needs: Need[] = [];
  for (const part of overview.health.parts) {
    if (part.state === "ok") continue;
    const tone = part.state === "down" ? "danger" : "warn";
    const href = operator ? "/console/system" : null;
    needs.push({ id: `part-${part.name}`, kind: "part", tone, name: part.name, reason: part.detail, at: null, tenant: null, href });
  }
  for (const pool of overview.pools ?? []) {
    if (pool.down === 0) continue;
    const tone = pool.up === 0 ? "danger" : "warn";
    const reason = `${pool.down}/${pool.up + pool.down + pool.draining}`;
    needs.push({ id: `pool-${pool.id}`, kind: "pool", tone, name: pool.name, reason, at: null, tenant: null, href: "/console/models" });
  }
  for (const one of (overview.usage?.slowest ?? []).filter((each) => each.slow).slice(0, MOST_SLOW)) {
    needs.push({
      id: `slow-${one.group}`, kind: "slow", tone: "warn", name: one.label, reason: "", at: null, tenant: null,
      waits: { own: one.totals.first_token_ms.p95 ?? 0, usual: overview.usage?.usual_first_token_ms ?? 0 },
      href: inTenant(`/console/usage?range=${overview.range}&sort=-first`, one.label),
    });
  }
  for (const one of overview.failed_documents?.items ?? []) {
    const href = inTenant(`/console/knowledge/${id(one.knowledge_base_id)}/${id(one.id)}`, one.tenant);
    needs.push({
      id: `document-${one.id}`, kind: "document", tone: "danger", name: one.title, reason: one.error, code: one.error_code,
      at: one.failed_at, tenant: one.tenant, href,
    });
  }
  // A document's own failed job says nothing new.
  for (const one of overview.failed_jobs?.items ?? []) {
    if (one.kind === "knowledge.ingest" && overview.failed_documents !== null) continue;
    needs.push({
      id: `job-${one.id}`, kind: "job", tone: "danger", name: one.kind, reason: one.error, at: one.failed_at, tenant: one.tenant,
      href: inTenant(`/console/jobs/${id(one.id)}?state=failed`, one.tenant),
    });
  }
  for (const one of overview.expiring_keys?.items ?? []) {
    needs.push({
      id: `key-${one.id}`, kind: "key", tone: "warn", name: one.name || one.prefix, reason: "", code: one.replaced ? "replaced" : "", at: one.expires_at, due: true, tenant: one.tenant,
      href: inTenant(`/console/keys/${id(one.id)}`, one.tenant),
    });
  }
  for (const one of overview.open_grants?.items ?? []) {
    needs.push({
      id: `grant-${one.id}`, kind: "grant", tone: "warn", name: one.operator, reason: one.reason, at: one.expires_at, due: true, tenant: null,
      href: "/console/break-glass",
    });
  }
  for (const one of overview.waiting_domains?.items ?? []) {
    needs.push({
      id: `domains-${one.id}`, kind: "domains", tone: operator ? "warn" : "plain", name: one.domains.join(", "), reason: one.name,
      code: operator ? "verify" : "ask", at: null, tenant: one.tenant, href: inTenant("/console/sign-in", one.tenant),
    });
  }
  for (const one of overview.suspended_tenants?.items ?? []) {
    needs.push({
      id: `tenant-${one.id}`, kind: "tenant", tone: "plain", name: one.name, reason: "", at: null, tenant: null,
      href: `/console/tenants/${id(one.id)}`,
    });
  }
  const models = overview.pools?.filter((pool) => !BUILT_IN.has(pool.name));
  if (operator && models !== undefined && models.length === 0) {
    needs.push({ id: "model", kind: "model", tone: "plain", name: "", reason: "", at: null, tenant: null, href: "/console/models/+connect" });
  }
  return begun === null ? needs : [...needs, ...stepsOf(begun, may)];
}

/** How a figure changed against the range before, as a share; null when there is nothing to compare with. */
export function change(now: number | null, before: number | null): number | null {
  if (now === null || before === null || before === 0) return null;
  return now / before - 1;
}

/** Where one looks at the thing of an act; null where there is no page for it. */
export function actHref(kind: string, objectId: string): string | null {
  const own = id(objectId);
  switch (kind) {
    case "api_key":
      return `/console/keys/${own}`;
    case "membership":
    case "invitation":
      return "/console/members";
    case "assistant":
      return `/console/assistants/${own}`;
    case "knowledge_base":
      return `/console/knowledge/${own}`;
    case "tenant":
      return `/console/tenants/${own}`;
    case "model":
    case "pool":
    case "replica":
      return "/console/models";
    case "backup":
    case "keyring":
      return "/console/backups";
    case "retention":
    case "retention_rule":
      return "/console/retention";
    case "job":
      return "/console/jobs";
    default:
      return null;
  }
}
