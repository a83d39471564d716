/** What the command palette finds on the server. */

import { api, inScope } from "./client";
import { readFinds, type Find } from "./finds";

export type { Find, FindKind } from "./finds";

export async function fetchFinds(query: string, signal: AbortSignal): Promise<Find[]> {
  return readFinds(await api.get<unknown>(inScope("/palette", { q: query }), { signal }));
}
