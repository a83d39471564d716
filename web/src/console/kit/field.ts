/** What fields of one form share. */

/** The ids that describe a field for a screen reader. */
export function describedBy(id: string, help: string | undefined, errors: readonly string[]): string | undefined {
  const ids = [help ? `${id}-help` : "", errors.length > 0 ? `${id}-error` : ""].filter(Boolean);
  return ids.length > 0 ? ids.join(" ") : undefined;
}

/** A moment as `datetime-local` takes it, in the reader's zone; "" for none. */
export function localMoment(iso: string | null | undefined): string {
  if (!iso) return "";
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}

/** The moment of a `datetime-local` value, in UTC; null for none. */
export function momentOf(local: string): string | null {
  const date = new Date(local);
  return local === "" || Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** The number of a field's text; null when it is empty. What is no number stays as it is, so that the server can say so. */
export function numberOf(text: string): number | string | null {
  const plain = text.trim();
  if (plain === "") return null;
  const value = Number(plain);
  return Number.isFinite(value) ? value : plain;
}
