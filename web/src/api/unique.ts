/**
 * A random id. `crypto.randomUUID` exists only on https and localhost; an installation reached by
 * plain http on a local network still has `getRandomValues`.
 */
export function uniqueId(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
