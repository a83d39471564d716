/** The client of this page: what the session is, and where its parts are kept in the browser. */

import { ApiClient } from "./client";

const TENANT_KEY = "atrium.tenant";

/** The CSRF token: the cookie is the fresh one, the shell's meta tag the fallback. */
export function csrfToken(): string {
  for (const name of ["csrftoken", "__Host-csrftoken", "__Secure-csrftoken"]) {
    const found = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
    if (found) return decodeURIComponent(found.slice(name.length + 1));
  }
  return document.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content ?? "";
}

export function storedTenant(): string | null {
  try {
    return localStorage.getItem(TENANT_KEY);
  } catch {
    return null;
  }
}

export function storeTenant(slug: string | null): void {
  try {
    if (slug === null) localStorage.removeItem(TENANT_KEY);
    else localStorage.setItem(TENANT_KEY, slug);
  } catch {
    // Private windows may forbid storage: the choice then lasts for this page only.
  }
}

/** A session is bound to one tenant: when another tab changes it, what stands here belongs to the old one. */
export function followTenantOf(slug: string): void {
  addEventListener("storage", (event) => {
    if (event.key === TENANT_KEY && event.newValue !== null && event.newValue !== slug) location.assign("/");
  });
}

export function goToLogin(): void {
  const here = location.pathname + location.search;
  location.assign(`/accounts/login/?next=${encodeURIComponent(here)}`);
}

export const api = new ApiClient({
  fetch: (input, init) => fetch(input, init),
  csrfToken,
  tenant: storedTenant,
  signedOut: goToLogin,
});
