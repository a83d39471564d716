/** The regions that one chooses from for a tenant. Pure. */

export interface RegionWords {
  regionAny: string;
  regionEmpty: (name: string) => string;
}

/** Anywhere, then the regions of engines; those of `held` that no engine is in any more stay to be seen, and are told apart. */
export function regionChoices(known: readonly string[], held: readonly string[], t: RegionWords): { value: string; label: string }[] {
  const lost = [...new Set(held)].filter((each) => each !== "" && !known.includes(each));
  return [
    { value: "", label: t.regionAny },
    ...known.map((value) => ({ value, label: value })),
    ...lost.map((value) => ({ value, label: t.regionEmpty(value) })),
  ];
}
