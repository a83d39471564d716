/** Pure parts of calling the API. */

/** `path` with query values added; null, undefined and "" are left out. */
export function withQuery(path: string, values: Record<string, string | number | boolean | null | undefined>): string {
  const [before, query] = path.split("?", 2) as [string, string | undefined];
  const all = new URLSearchParams(query ?? "");
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") all.set(name, String(value));
  }
  const text = all.toString();
  return text ? `${before}?${text}` : before;
}

/** The file name of a Content-Disposition header. */
export function fileNameOf(header: string | null): string | null {
  if (header === null) return null;
  const coded = /filename\*=UTF-8''([^;]+)/i.exec(header)?.[1];
  if (coded !== undefined) {
    try {
      return decodeURIComponent(coded);
    } catch {
      return null;
    }
  }
  return /filename="?([^";]+)"?/i.exec(header)?.[1] ?? null;
}

/** The cursor in a page's `next` or `previous` link. */
export function cursorOf(link: string | null | undefined): string | null {
  return link ? new URL(link, "http://console.invalid").searchParams.get("cursor") : null;
}
