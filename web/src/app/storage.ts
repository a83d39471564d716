/** Small things a browser remembers. Storage may be forbidden or full: then nothing is remembered. */

export function remember(key: string, value: string | null, store: "local" | "session" = "local"): void {
  try {
    const storage = store === "local" ? localStorage : sessionStorage;
    if (value === null) storage.removeItem(key);
    else storage.setItem(key, value);
  } catch {
    // Nothing depends on it.
  }
}

export function recall(key: string, store: "local" | "session" = "local"): string | null {
  try {
    return (store === "local" ? localStorage : sessionStorage).getItem(key);
  } catch {
    return null;
  }
}
