/** Does something and tells the outcome at the page's edge. */

import { ApiProblem } from "../../api/problem";
import { toasts } from "../../app/toasts.svelte";
import { kit } from "../i18n/index.svelte";
import { problemText } from "./words";

export interface AttemptOptions {
  done?: string | undefined;
  /** What takes it back; offered for a few seconds. */
  undo?: () => unknown;
  /** Said before the reason when it fails. */
  failed?: string | undefined;
}

/** The action's value, or undefined when it failed (which was told). */
export async function attempt<T>(action: () => Promise<T>, options: AttemptOptions = {}): Promise<T | undefined> {
  try {
    const value = await action();
    const { done, undo } = options;
    if (done !== undefined) {
      toasts.show(done, undo === undefined ? {} : { action: { label: kit().undo, run: () => void undo() }, seconds: 8 });
    }
    return value;
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") return undefined;
    if (!(cause instanceof ApiProblem)) throw cause;
    const reason = problemText(cause);
    toasts.show(options.failed ? `${options.failed} ${reason}` : reason, { tone: "danger", seconds: 8 });
    return undefined;
  }
}
