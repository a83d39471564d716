/** Who may deal with which role: nobody rises above themselves. The server decides in the end. */

import { ROLES, type Role } from "../api/people";

export function rolesUpTo(own: Role, unlimited: boolean): Role[] {
  return unlimited ? [...ROLES] : ROLES.slice(ROLES.indexOf(own));
}

const OWN = "own:";

/** A role as a select holds it: a built-in one by its name, one of the tenant's own by its id. */
export function roleValue(row: { role: Role; custom_role: { id: string } | null }): string {
  return row.custom_role ? OWN + row.custom_role.id : row.role;
}

/** The role chosen in a select, as the API takes it. */
export function chosenRole(value: string): { role: Role } | { custom_role: string } {
  return value.startsWith(OWN) ? { custom_role: value.slice(OWN.length) } : { role: value as Role };
}

export interface RoleOption {
  value: string;
  label: string;
}

/** What a select of roles offers: the built-in ones one may give, then the tenant's own. */
export function roleOptions(roles: readonly Role[], names: Record<Role, string>, own: readonly { id: string; name: string }[]): RoleOption[] {
  return [
    ...roles.map((value) => ({ value, label: names[value] })),
    ...own.map((one) => ({ value: OWN + one.id, label: one.name })),
  ];
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
