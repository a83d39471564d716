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
}

export const NEW: AssistantFields = {
  name: "",
  slug: "",
  description: "",
  instructions: "",
  model: AUTO,
  knowledge_base_ids: [],
  suggestions: "",
};

export function fieldsOf(row: Assistant): AssistantFields {
  const { name, slug, description, instructions, model, knowledge_base_ids } = row;
  return { name, slug, description, instructions, model, knowledge_base_ids, suggestions: row.suggestions.join("\n") };
}

/** What is sent of the fields given. */
export function sent(fields: Partial<AssistantFields>): Partial<AssistantValues> {
  const { suggestions, ...rest } = fields;
  if (suggestions === undefined) return rest;
  const lines = suggestions.split("\n").map((line) => line.trim());
  return { ...rest, suggestions: lines.filter(Boolean) };
}
