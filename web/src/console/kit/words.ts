/** A failure in words a person can act on. */

import type { ApiProblem } from "../../api/problem";
import { kit } from "../i18n/index.svelte";

export function problemText(problem: ApiProblem): string {
  const t = kit().problem;
  if (problem.status === 0) return t.network;
  // Why is worth reading: a suspended tenant, a missing factor, a grant that must be opened first.
  if (problem.status === 403 && problem.code.startsWith("http_")) return t.forbidden;
  if (problem.status === 404) return t.missing;
  if (problem.status === 413) return t.tooLarge;
  // What a page writes for a 503 is worth reading; a bare "HTTP 502" is not.
  if (problem.status >= 500 && problem.code.startsWith("http_")) return t.busy;
  // Fields have names for programs; what is wrong with them is for people.
  const said = Object.values(problem.fields).flat();
  return said.length > 0 ? said.join(" ") : problem.message;
}
