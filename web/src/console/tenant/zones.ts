/** The time zones that a browser knows, with one that it may not know; first those that are likely: UTC, `current`, the reader's own. */
export function zonesWith(current: string): { value: string; label: string }[] {
  const known = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return [...new Set(["UTC", current, own, ...known])].filter(Boolean).map((value) => ({ value, label: value.replaceAll("_", " ") }));
}
