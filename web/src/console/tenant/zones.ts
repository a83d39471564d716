/** The time zones that a browser knows, with one that it may not know. */
export function zonesWith(current: string): { value: string; label: string }[] {
  const known = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
  return [...new Set(["UTC", current, ...known])].filter(Boolean).map((value) => ({ value, label: value.replaceAll("_", " ") }));
}
