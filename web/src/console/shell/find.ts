/** Which page an address belongs to. */

import { PAGES, type PageEntry } from "../pages";
import { restBehind } from "../routes";

export function pageOf(path: string): { page: PageEntry; rest: string[] } | null {
  for (const page of PAGES) {
    const rest = restBehind(path, page.path);
    if (rest !== null) return { page, rest };
  }
  return null;
}
