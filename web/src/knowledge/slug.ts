/** A short address name from a title: `Über uns` → `ueber-uns`. Empty when nothing usable is left. */
export function slugFrom(name: string): string {
  return name
    .toLowerCase()
    .replace(/ä/g, "ae")
    .replace(/ö/g, "oe")
    .replace(/ü/g, "ue")
    .replace(/ß/g, "ss")
    .normalize("NFD")
    .replace(/\p{M}/gu, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 50)
    .replace(/-+$/, "");
}

/** The first free one of `slug`, `slug-2`, `slug-3` … */
export function freeSlug(slug: string, taken: ReadonlySet<string>): string {
  const start = slug || "assistant";
  if (!taken.has(start)) return start;
  for (let count = 2; ; count += 1) if (!taken.has(`${start}-${count}`)) return `${start}-${count}`;
}
