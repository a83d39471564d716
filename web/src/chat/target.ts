/** Who shall answer: an assistant by its slug, or a model by its id. */

import type { Assistant, Model } from "../api/types";

export type Target = { kind: "assistant"; slug: string } | { kind: "model"; id: string };

export const AUTO = "auto";

export function sameTarget(left: Target | null, right: Target | null): boolean {
  return left !== null && right !== null && formatTarget(left) === formatTarget(right);
}

/** `assistant/<slug>` or the model's id, as everywhere in the API. */
export function formatTarget(target: Target): string {
  return target.kind === "assistant" ? `assistant/${target.slug}` : target.id;
}

export function parseTarget(text: string): Target {
  return text.startsWith("assistant/")
    ? { kind: "assistant", slug: text.slice("assistant/".length) }
    : { kind: "model", id: text };
}

/** The models to choose from; with several, `auto` leaves the choice to the server. */
export function usableModels(models: readonly Model[]): Model[] {
  const usable = models.filter((model) => model.kind === "chat" && model.replica_count !== 0);
  if (usable.length < 2 || usable.some((model) => model.id === AUTO)) return usable;
  return [{ id: AUTO, kind: "chat" }, ...usable];
}

/** The model of which a person must know something before asking: built in, or with a notice of its own. */
export function noteworthyModel(
  target: Target | null,
  assistants: readonly Assistant[],
  models: readonly Model[],
): Model | null {
  if (target === null) return null;
  const noteworthy = (model: Model | undefined) => (model && (model.built_in || model.notice) ? model : null);
  const id =
    target.kind === "model" ? target.id : (assistants.find((one) => one.slug === target.slug)?.model ?? AUTO);
  if (id !== AUTO) return noteworthy(models.find((model) => model.id === id));
  // The server never chooses a built-in engine while a real model can answer.
  const choices = models.filter((model) => model.id !== AUTO);
  return choices.every((model) => model.built_in) ? noteworthy(choices[0]) : null;
}

/** The wanted target if it still exists, else the first assistant, else the first model. */
export function chooseTarget(
  wanted: Target | null,
  assistants: readonly Assistant[],
  models: readonly Model[],
): Target | null {
  if (wanted?.kind === "assistant" && assistants.some((one) => one.slug === wanted.slug)) return wanted;
  if (wanted?.kind === "model" && models.some((one) => one.id === wanted.id)) return wanted;
  const assistant = assistants[0];
  if (assistant) return { kind: "assistant", slug: assistant.slug };
  const model = models[0];
  return model ? { kind: "model", id: model.id } : null;
}

export function targetName(target: Target | null, assistants: readonly Assistant[]): string {
  if (target === null) return "";
  if (target.kind === "model") return target.id;
  return assistants.find((one) => one.slug === target.slug)?.name ?? target.slug;
}
