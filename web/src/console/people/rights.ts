/** Who may deal with which role: nobody rises above themselves. The server decides in the end. */

import { ROLES, type Role } from "../api/people";

export function rolesUpTo(own: Role, unlimited: boolean): Role[] {
  return unlimited ? [...ROLES] : ROLES.slice(ROLES.indexOf(own));
}

/** A slug made from a name: small letters, digits, hyphens between them. */
export function slugOf(name: string): string {
  const plain = name
    .toLowerCase()
    .replaceAll("ß", "ss")
    .replaceAll(/[äöü]/g, (letter) => `${{ ä: "a", ö: "o", ü: "u" }[letter] ?? ""}e`)
    .normalize("NFD")
    .replaceAll(/[\u0300-\u036f]/g, "");
  return plain
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, 63)
    .replaceAll(/^-+|-+$/g, "");
}

/** The moment so many days from now; null for "never". */
export function inDays(days: number | null, now = Date.now()): string | null {
  return days === null ? null : new Date(now + days * 86_400_000).toISOString();
}
