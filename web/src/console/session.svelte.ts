/** Who is signed in, and what they may do in the scope shown. */

import { goToLogin, storedTenant, storeTenant } from "../api/browser";
import { ApiProblem } from "../api/problem";
import type { Me, Membership, Tenant } from "../api/types";
import { api } from "./api/client";
import { OPERATE, type PageEntry } from "./pages";
import { router } from "./router.svelte";
import { scopeOf, type Scope } from "./routes";
import { scope } from "./scope.svelte";

class Session {
  me = $state.raw<Me | null>(null);
  problem = $state.raw<ApiProblem | null>(null);
  /** Counts entries into a scope, so that the page of the old one is left behind. */
  entered = $state(0);
  /** The scope that `me` is about: while it differs from the one wanted, no page is shown. */
  within = $state<string | null>(null);
  private entering: string | null = null;

  get operator(): boolean {
    return this.me?.user.is_operator ?? false;
  }

  get memberships(): Membership[] {
    return this.me?.memberships ?? [];
  }

  /** An operator in a tenant of others: rights without content. */
  get visiting(): boolean {
    const { me } = this;
    if (me === null || scope.platform) return false;
    return !me.memberships.some((one) => one.tenant.slug === me.tenant.slug);
  }

  /** The grant by which a visitor reads content here, while it is open. */
  get grant(): NonNullable<Me["break_glass"]> | null {
    return this.visiting ? (this.me?.break_glass ?? null) : null;
  }

  get tenant(): Tenant | null {
    return this.me?.tenant ?? null;
  }

  /** What is offered follows the server's own table; the server decides in the end. */
  may(permission: string): boolean {
    return this.me?.permissions.includes(permission) ?? false;
  }

  /** Whether a page is offered in the scope shown. */
  offers(page: PageEntry): boolean {
    return this.opens(page) && !(scope.platform && page.scope === "tenant");
  }

  /** Whether the person may open a page at all. */
  opens(page: PageEntry): boolean {
    if (page.scope === "platform" || (scope.platform && page.scope === "both")) return this.may(OPERATE);
    return page.permission === null || this.may(page.permission);
  }

  /** Asks who one is in the scope of the address; a scope that cannot be entered is left. */
  async enter(): Promise<"entered" | "refused" | "failed"> {
    const wanted = scope.key;
    if (this.entering === wanted && this.me !== null) return "entered";
    this.entering = wanted;
    this.problem = null;
    try {
      const me = await api.get<Me>("/me");
      if (this.entering !== wanted) return "entered";
      this.settle(me);
      if (scope.platform && !me.user.is_operator) return this.leave();
      return "entered";
    } catch (cause) {
      if (!(cause instanceof ApiProblem)) throw cause;
      if (cause.status === 401) return "failed"; // On the way to the sign-in page.
      if ([400, 403, 404].includes(cause.status) && this.escape()) return "refused";
      if (cause.status === 403) goToLogin();
      this.problem = cause;
      return "failed";
    }
  }

  /** Asks anew who one is here, in silence: the page stays, but for what one may no longer see. */
  async renew(): Promise<void> {
    const wanted = scope.key;
    try {
      const me = await api.get<Me>("/me");
      if (this.within === wanted && scope.key === wanted) this.me = me;
    } catch (cause) {
      // What was known stays; the server refuses what is over.
      if (!(cause instanceof ApiProblem)) throw cause;
    }
  }

  private settle(me: Me): void {
    this.me = me;
    if (router.home === null) router.home = { kind: "tenant", slug: ownTenant(me) };
    // One's own tenant need not stand in the address.
    router.set({}, { replace: true });
    // Naming the own tenant is no new scope: the page must not be mounted twice, with what was typed lost.
    this.entering = scope.key;
    this.within = scope.key;
    this.entered += 1;
  }

  private leave(): "refused" {
    this.entering = null;
    if (router.home !== null) scope.enter(router.home);
    return "refused";
  }

  /** Leaves a scope that the server refuses; false when there is nothing left to try. */
  private escape(): boolean {
    this.entering = null;
    if (scopeOf(router.query) !== null) {
      router.dropScope();
      return true;
    }
    if (storedTenant() === null) return false;
    storeTenant(null);
    router.home = null;
    return true;
  }
}

/** The tenant that addresses need not name: the one chosen in the chat, else the first one. */
function ownTenant(me: Me): string {
  const slugs = me.memberships.map((one) => one.tenant.slug);
  const stored = storedTenant();
  if (stored !== null && slugs.includes(stored)) return stored;
  return slugs[0] ?? me.tenant.slug;
}

export const session = new Session();

export function sameTenant(one: Scope | null, slug: string): boolean {
  return one?.kind === "tenant" && one.slug === slug;
}
