/** Groups things by how long ago they were used; the order within a group stays. */

export type Age = "today" | "yesterday" | "week" | "older";

export function ageOf(iso: string, now: Date): Age {
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const time = Date.parse(iso);
  const day = 24 * 3600 * 1000;
  if (Number.isNaN(time)) return "older";
  if (time >= midnight) return "today";
  if (time >= midnight - day) return "yesterday";
  return time >= midnight - 7 * day ? "week" : "older";
}

export function byAge<T extends { updated_at: string }>(rows: readonly T[], now: Date): { age: Age; rows: T[] }[] {
  const groups: Record<Age, T[]> = { today: [], yesterday: [], week: [], older: [] };
  for (const row of rows) groups[ageOf(row.updated_at, now)].push(row);
  const ages: Age[] = ["today", "yesterday", "week", "older"];
  return ages.filter((age) => groups[age].length > 0).map((age) => ({ age, rows: groups[age] }));
}

/** True when every word of the query stands somewhere in the title, whatever the case or accents. */
export function titleMatches(title: string, query: string): boolean {
  const plain = (text: string) =>
    text
      .normalize("NFD")
      .replace(/\p{M}/gu, "")
      .toLowerCase();
  const words = plain(query).split(/\s+/).filter(Boolean);
  const text = plain(title);
  return words.every((word) => text.includes(word));
}
