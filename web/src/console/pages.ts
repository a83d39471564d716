/**
 * The pages of the console: the only list of them. Sidebar, rights, routes, titles and the command
 * palette are read from it. A page whose permission one lacks is not offered, and its address
 * answers "not allowed".
 */

import type { Component } from "svelte";
import type { IconName } from "../ui/icons";
import type { Area } from "./i18n/areas";

export type PageId =
  | "home"
  | "assistants"
  | "knowledge"
  | "models"
  | "choice"
  | "conversations"
  | "members"
  | "accounts"
  | "groups"
  | "roles"
  | "keys"
  | "signin"
  | "provisioning"
  | "usage"
  | "requests"
  | "jobs"
  | "audit"
  | "limits"
  | "breakglass"
  | "inspected"
  | "retention"
  | "webhooks"
  | "tenant"
  | "tenants"
  | "backups"
  | "system";

export type Group = "start" | "product" | "access" | "activity" | "platform";

/** `tenant`: shows one tenant. `platform`: belongs to the whole installation. `both`: follows the scope. */
export type PageScope = "tenant" | "platform" | "both";

export interface PageEntry {
  readonly id: PageId;
  readonly path: string;
  /** Whose catalogue of words is loaded with it. */
  readonly area: Area;
  /** Further catalogues that it takes words from. */
  readonly also?: readonly Area[];
  readonly icon: IconName;
  readonly group: Group;
  /** The right that opens it; null: everyone who may open the console. */
  readonly permission: string | null;
  readonly scope: PageScope;
  readonly load: () => Promise<{ default: Component<{ rest: string[] }> }>;
}

export const GROUPS: readonly Group[] = ["start", "product", "access", "activity", "platform"];

export const OPERATE = "platform.operate";
/** No role has it: an operator who visits does, while a break-glass grant of theirs is open. */
export const INSPECT = "conversations.inspect";

export const PAGES: readonly PageEntry[] = [
  {
    id: "home",
    path: "/console/",
    area: "home",
    also: ["audit", "limits"],
    icon: "home",
    group: "start",
    permission: null,
    scope: "both",
    load: () => import("./home/HomePage.svelte"),
  },
  {
    id: "assistants",
    path: "/console/assistants",
    area: "assistants",
    icon: "spark",
    group: "product",
    permission: "assistants.read",
    scope: "tenant",
    load: () => import("./assistants/AssistantsPage.svelte"),
  },
  {
    id: "knowledge",
    path: "/console/knowledge",
    area: "knowledge",
    icon: "book",
    group: "product",
    permission: "knowledge.inspect",
    scope: "tenant",
    load: () => import("./knowledge/KnowledgePage.svelte"),
  },
  {
    id: "models",
    path: "/console/models",
    area: "engines",
    icon: "chip",
    group: "product",
    permission: "models.read",
    scope: "both",
    load: () => import("./engines/ModelsPage.svelte"),
  },
  {
    id: "choice",
    path: "/console/choice",
    area: "choice",
    icon: "filter",
    group: "product",
    permission: "requests.read",
    scope: "tenant",
    load: () => import("./choice/ChoicePage.svelte"),
  },
  {
    id: "conversations",
    path: "/console/conversations",
    area: "conversations",
    icon: "chat",
    group: "product",
    permission: "conversations.own",
    scope: "tenant",
    load: () => import("./conversations/ConversationsPage.svelte"),
  },
  {
    id: "members",
    path: "/console/members",
    area: "people",
    icon: "people",
    group: "access",
    permission: "users.write",
    scope: "tenant",
    load: () => import("./people/MembersPage.svelte"),
  },
  {
    id: "accounts",
    path: "/console/service-accounts",
    area: "accounts",
    icon: "bolt",
    group: "access",
    permission: "service_accounts.write",
    scope: "tenant",
    load: () => import("./accounts/AccountsPage.svelte"),
  },
  {
    id: "groups",
    path: "/console/groups",
    area: "access",
    icon: "groups",
    group: "access",
    permission: "groups.write",
    scope: "tenant",
    load: () => import("./access/GroupsPage.svelte"),
  },
  {
    id: "roles",
    path: "/console/roles",
    area: "access",
    icon: "shield",
    group: "access",
    permission: "users.write",
    scope: "tenant",
    load: () => import("./access/RolesPage.svelte"),
  },
  {
    id: "keys",
    path: "/console/keys",
    area: "people",
    icon: "key",
    group: "access",
    permission: "keys.write",
    scope: "tenant",
    load: () => import("./people/KeysPage.svelte"),
  },
  {
    id: "signin",
    path: "/console/sign-in",
    area: "signin",
    also: ["audit"],
    icon: "shield",
    group: "access",
    permission: "tenant.write",
    scope: "tenant",
    load: () => import("./signin/SignInPage.svelte"),
  },
  {
    id: "provisioning",
    path: "/console/provisioning",
    area: "provisioning",
    icon: "swap",
    group: "access",
    permission: "tenant.write",
    scope: "tenant",
    load: () => import("./provisioning/ProvisioningPage.svelte"),
  },
  {
    id: "usage",
    path: "/console/usage",
    area: "usage",
    icon: "chart",
    group: "activity",
    // Who does not administer sees their own.
    permission: null,
    scope: "both",
    load: () => import("./usage/UsagePage.svelte"),
  },
  {
    id: "limits",
    path: "/console/limits",
    area: "limits",
    icon: "gauge",
    group: "activity",
    // Who does not administer sees their own.
    permission: null,
    scope: "tenant",
    load: () => import("./limits/LimitsPage.svelte"),
  },
  {
    id: "requests",
    path: "/console/requests",
    area: "requests",
    icon: "route",
    group: "activity",
    permission: "requests.read",
    scope: "both",
    load: () => import("./requests/RequestsPage.svelte"),
  },
  {
    id: "jobs",
    path: "/console/jobs",
    area: "jobs",
    icon: "queue",
    group: "activity",
    permission: "jobs.read",
    scope: "both",
    load: () => import("./jobs/JobsPage.svelte"),
  },
  {
    id: "audit",
    path: "/console/audit",
    area: "audit",
    also: ["limits"],
    icon: "history",
    group: "activity",
    permission: "audit.read",
    scope: "both",
    load: () => import("./audit/AuditPage.svelte"),
  },
  {
    id: "breakglass",
    path: "/console/break-glass",
    area: "breakglass",
    icon: "alert",
    group: "activity",
    permission: "audit.read",
    scope: "tenant",
    load: () => import("./breakglass/BreakGlassPage.svelte"),
  },
  {
    id: "inspected",
    path: "/console/inspected-conversations",
    area: "breakglass",
    icon: "chat",
    group: "activity",
    permission: "conversations.inspect",
    scope: "tenant",
    load: () => import("./breakglass/InspectedPage.svelte"),
  },
  {
    id: "retention",
    path: "/console/retention",
    area: "upkeep",
    icon: "clock",
    group: "activity",
    permission: "retention.write",
    scope: "tenant",
    load: () => import("./upkeep/RetentionPage.svelte"),
  },
  {
    id: "webhooks",
    path: "/console/webhooks",
    area: "webhooks",
    icon: "send",
    group: "activity",
    permission: "webhooks.write",
    scope: "tenant",
    load: () => import("./webhooks/WebhooksPage.svelte"),
  },
  {
    id: "tenant",
    path: "/console/tenant",
    area: "tenant",
    icon: "building",
    group: "access",
    permission: "tenant.write",
    scope: "tenant",
    load: () => import("./tenant/TenantPage.svelte"),
  },
  {
    id: "tenants",
    path: "/console/tenants",
    area: "people",
    icon: "building",
    group: "platform",
    permission: OPERATE,
    scope: "platform",
    load: () => import("./people/TenantsPage.svelte"),
  },
  {
    id: "backups",
    path: "/console/backups",
    area: "backups",
    icon: "archive",
    group: "platform",
    permission: OPERATE,
    scope: "platform",
    load: () => import("./backups/BackupsPage.svelte"),
  },
  {
    id: "system",
    path: "/console/system",
    area: "upkeep",
    icon: "gauge",
    group: "platform",
    permission: OPERATE,
    scope: "platform",
    load: () => import("./upkeep/SystemPage.svelte"),
  },
];
