/** A failure in words a person can act on: known codes in our own words, else the server's. */

import type { ApiProblem } from "../api/problem";
import type { Failure } from "../chat/stream";
import type { Catalogue } from "./en";

export function problemText(problem: ApiProblem, t: Catalogue): string {
  if (problem.status === 0) return t.problems.network;
  if (problem.status === 404) return t.problems.missing;
  if (problem.status === 413) return t.problems.tooLarge;
  // Other refusals say more than that a role is too small: a suspended tenant, a second factor that is missing.
  if (problem.status === 403 && (problem.code === "permission_denied" || problem.code.startsWith("http_"))) return t.problems.forbidden;
  if (problem.status >= 500) return t.problems.busy;
  return problem.message;
}

export function failureText(failure: Failure | null, t: Catalogue): string {
  if (failure === null) return t.problems.answerFailed;
  return t.problems.codes[failure.code] ?? (failure.message || t.problems.answerFailed);
}

/** A stored reason may be a word or a small object; people read its message. */
export function reasonText(reason: string | { code?: string; message?: string } | null, fallback: string): string {
  if (reason === null) return fallback;
  if (typeof reason === "string") return reason || fallback;
  return reason.message ?? reason.code ?? fallback;
}
