/** What can be done with an assistant from its list and from its editor. */

import { deleteAssistant, duplicateAssistant, restoreAssistant, type Assistant } from "../api/assistants";
import { words } from "../i18n/index.svelte";
import { attempt } from "../kit/attempt";

/** Deletes and offers to take it back; `changed` is called after either. True when it was deleted. */
export async function removeWithUndo(row: Assistant, changed: () => unknown): Promise<boolean> {
  const t = words("assistants");
  const back = async () => {
    await attempt(() => restoreAssistant(row.slug), { done: t.restored(row.name) });
    changed();
  };
  const done = await attempt(() => deleteAssistant(row.slug).then(() => true), { done: t.removed(row.name), undo: back });
  changed();
  return done === true;
}

export async function copyOf(row: Assistant): Promise<Assistant | undefined> {
  const t = words("assistants");
  const made = await attempt(() => duplicateAssistant(row.slug));
  if (made) await attempt(() => Promise.resolve(), { done: t.duplicated(made.name) });
  return made;
}
