/** The addresses of the console, both ways: pure, so that links, history and scope agree by test. */

export type Scope = { kind: "tenant"; slug: string } | { kind: "platform" };

export interface Place {
  /** Below `/console`, without a slash at the end; the start page is `/console/`. */
  path: string;
  query: URLSearchParams;
}

export const ROOT = "/console/";

/** The query value that carries the scope: a tenant's slug, or `*` for the whole platform. */
export const SCOPE = "in";

export function normalPath(path: string): string {
  const cut = path.replace(/\/+$/, "");
  return cut === "" || cut === "/console" ? ROOT : cut;
}

export function parsePlace(address: string): Place {
  const url = new URL(address, "http://console.invalid");
  return { path: normalPath(url.pathname), query: url.searchParams };
}

/** The scope an address names, or null when it names none. */
export function scopeOf(query: URLSearchParams): Scope | null {
  const named = query.get(SCOPE);
  if (!named) return null;
  return named === "*" ? { kind: "platform" } : { kind: "tenant", slug: named };
}

export function sameScope(one: Scope | null, other: Scope | null): boolean {
  if (one === null || other === null) return one === other;
  if (one.kind === "platform" || other.kind === "platform") return one.kind === other.kind;
  return one.slug === other.slug;
}

/** The address of a place in a scope; `home` is the scope that needs no naming. */
export function formatPlace(place: Place, scope: Scope | null, home: Scope | null): string {
  const query = new URLSearchParams(place.query);
  query.delete(SCOPE);
  if (scope !== null && !sameScope(scope, home)) query.set(SCOPE, scope.kind === "platform" ? "*" : scope.slug);
  const text = query.toString();
  return place.path + (text ? `?${text}` : "");
}

/** What of `path` lies behind `base`, as decoded segments; null when it is not below it. */
export function restBehind(path: string, base: string): string[] | null {
  const own = normalPath(base);
  if (own === ROOT) return path === ROOT ? [] : null;
  if (path === own) return [];
  if (!path.startsWith(`${own}/`)) return null;
  try {
    return path.slice(own.length + 1).split("/").map(decodeURIComponent);
  } catch {
    return null;
  }
}

/** `query` with some values changed; null and "" remove. */
export function withValues(
  query: URLSearchParams,
  values: Record<string, string | number | null | undefined>,
): URLSearchParams {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === "") next.delete(name);
    else next.set(name, String(value));
  }
  return next;
}
