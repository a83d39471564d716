/** Calls and wire shapes of which model answers. */

import { api } from "./client";
import type { Explained } from "./engines";

export const TASKS = ["code", "math", "translation", "summary", "extraction", "writing", "question", "other"] as const;
export type Task = (typeof TASKS)[number];
export type Use = "light" | "heavy" | "models";

export interface Rule {
  name: string;
  use: Use;
  models: string[];
  strict: boolean;
  enabled: boolean;
  assistants: string[];
  groups: string[];
  tasks: Task[];
  /** 0 is Monday. */
  days: number[];
  from_time: string;
  until_time: string;
  min_tokens: number;
  max_tokens: number;
}

export interface Chain {
  model: string;
  then: string[];
}

export interface Canary {
  model: string;
  to: string;
  percent: number;
}

export interface Shadow {
  model: string;
  to: string;
  percent: number;
}

export const CACHE_USES = ["asked", "always", "never"] as const;
export type CacheUse = (typeof CACHE_USES)[number];

export interface Caching {
  use: CacheUse;
  keys: { key: string; use: CacheUse }[];
}

export interface Cascade {
  tokens: number;
  below_percent: number;
  escalate_percent: number | null;
}

export const MOST_EXAMPLES = 40;
export const LONGEST_EXAMPLE = 300;

export interface Examples {
  easy: string[];
  hard: string[];
}

/** What the platform may say for tenants that say nothing themselves. */
export type PolicyPart = "rules" | "heavy_percent" | "cascade" | "examples";

export interface Default {
  rules: Rule[];
  heavy_percent: number | null;
  cascade: Cascade | null;
  examples: Examples;
}

export interface PolicyDocument extends Default {
  auto_models: string[];
  chains: Chain[];
  canaries: Canary[];
  caching: Caching;
  shadows: Shadow[];
  /** Parts in which the platform's default does not hold. */
  declines: PolicyPart[];
}

interface Saved {
  /** Whether the examples in force are compared with; false when another embedder has come since. */
  examples_in_use: boolean;
  updated_at: string | null;
  version: string;
}

export interface Policy extends PolicyDocument, Saved {
  platform?: Default;
}

export type Why = "off" | "assistant" | "group" | "task" | "prompt_length" | "time" | "no_model";
export type By = "named" | "order" | "rule" | "complexity" | "canary" | "context";

export interface Tried extends Explained {
  choice: {
    by: By;
    rule: string;
    tier: "light" | "heavy";
    task: Task;
    complexity: number;
    threshold: number | null;
    heavy_percent: number | null;
    passed: { rule: string; why: Why }[];
    said_by: "tenant" | "platform" | "nobody";
    likeness: { evidence: number; easy: string; hard: string } | null;
  };
  cascade: { light: string; heavy: string; tokens: number; below: number; escalate_percent: number | null } | null;
  caching: { use: CacheUse; said_by: "key" | "tenant" | "nobody" };
}

export interface Example {
  model: string;
  text: string;
  assistant: string;
  groups: string[];
  /** ISO, or empty for now. */
  at: string;
}

/** What rules may name. Lists that the reader may not see are empty. */
export interface Names {
  models: string[];
  /** Tiers of which a chat model is there that can be called. */
  tiers: ("light" | "heavy")[];
  assistants: { slug: string; name: string }[];
  groups: { id: string; name: string }[];
  keys: { id: string; name: string }[];
}

interface Page<T> {
  results: T[];
}

export const fetchPolicy = (signal?: AbortSignal) => api.get<Policy>("/routing/policy", { signal });
export const savePolicy = (document: PolicyDocument, ifMatch?: string) =>
  api.put<Policy>("/routing/policy", document, { ifMatch });

const NOTHING: Omit<PolicyDocument, keyof Default> = {
  auto_models: [],
  chains: [],
  canaries: [],
  caching: { use: "asked", keys: [] },
  shadows: [],
  declines: [],
};

/** What the platform says, in the shape of a policy that says nothing else. */
export const fetchDefault = (signal?: AbortSignal): Promise<Policy> =>
  api.get<Default & Saved>("/routing/default", { signal }).then((found) => ({ ...NOTHING, ...found }));
export const saveDefault = (document: Default, ifMatch?: string): Promise<Policy> =>
  api.put<Default & Saved>("/routing/default", document, { ifMatch }).then((found) => ({ ...NOTHING, ...found }));

export const tryPolicy = (example: Example, policy: PolicyDocument) =>
  api.post<Tried>("/routing/explain", {
    model: example.model,
    messages: [{ role: "user", content: example.text }],
    ...(example.assistant ? { assistant: example.assistant } : {}),
    ...(example.groups.length > 0 ? { groups: example.groups } : {}),
    ...(example.at ? { at: example.at } : {}),
    policy,
  });

export async function fetchNames(signal: AbortSignal): Promise<Names> {
  const list = <T>(path: string) =>
    api.get<Page<T>>(path, { signal }).then(
      (page) => page.results,
      () => [] as T[],
    );
  const [models, assistants, groups, keys] = await Promise.all([
    list<{ id: string; kind: string; tier: "light" | "heavy"; state: string }>("/models?limit=200"),
    list<{ slug: string; name: string }>("/assistants?limit=200"),
    list<{ id: string; name: string }>("/groups?limit=200"),
    list<{ id: string; name: string; prefix: string }>("/api-keys?limit=200&state=valid,expiring"),
  ]);
  const chat = models.filter((model) => model.kind === "chat");
  return {
    models: chat.map((model) => model.id),
    tiers: [...new Set(chat.filter((model) => model.state === "in_service").map((model) => model.tier))],
    assistants,
    groups,
    keys: keys.map((key) => ({ id: key.id, name: `${key.name || key.prefix} (${key.prefix})` })),
  };
}
