/** An assistant as its form holds it. */

import { AUTO, type Assistant, type AssistantValues } from "../api/assistants";

export interface AssistantFields {
  name: string;
  slug: string;
  description: string;
  instructions: string;
  model: string;
  knowledge_base_ids: string[];
  /** One question a line. */
  suggestions: string;
  /** Seconds, "0" for never. */
  semantic_cache_seconds: string;
  semantic_cache_threshold: string;
}

export const NEW: AssistantFields = {
  name: "",
  slug: "",
  description: "",
  instructions: "",
  model: AUTO,
  knowledge_base_ids: [],
  suggestions: "",
  semantic_cache_seconds: "0",
  semantic_cache_threshold: "0.95",
};

export function fieldsOf(row: Assistant): AssistantFields {
  const { name, slug, description, instructions, model, knowledge_base_ids } = row;
  return {
    name,
    slug,
    description,
    instructions,
    model,
    knowledge_base_ids,
    suggestions: row.suggestions.join("\n"),
    semantic_cache_seconds: String(row.semantic_cache_seconds),
    semantic_cache_threshold: String(row.semantic_cache_threshold),
  };
}

/** What is sent of the fields given. */
export function sent(fields: Partial<AssistantFields>): Partial<AssistantValues> {
  const { suggestions, semantic_cache_seconds: seconds, semantic_cache_threshold: threshold, ...values } = fields;
  const sending: Partial<AssistantValues> = values;
  if (suggestions !== undefined) {
    sending.suggestions = suggestions
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean);
  }
  if (seconds !== undefined) sending.semantic_cache_seconds = Number(seconds);
  if (threshold !== undefined) sending.semantic_cache_threshold = Number(threshold);
  return sending;
}
