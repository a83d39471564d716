/** What the console shows: one tenant, or (for operators) the whole platform. The address is its truth. */

import { storedTenant } from "../api/browser";
import { router } from "./router.svelte";
import type { Scope } from "./routes";

class ScopeChoice {
  get current(): Scope | null {
    return router.scope;
  }

  get platform(): boolean {
    return router.scope?.kind === "platform";
  }

  /** The tenant that requests name: that of the scope, else the person's own. */
  get tenant(): string | null {
    const named = router.scope ?? router.home;
    if (named?.kind === "tenant") return named.slug;
    return router.home?.kind === "tenant" ? router.home.slug : storedTenant();
  }

  /** For `{#key}`: equal while the scope is the same. */
  get key(): string {
    const { current } = this;
    return current === null ? "" : current.kind === "platform" ? "*" : current.slug;
  }

  enter(scope: Scope, path?: string): void {
    router.enter(scope, path);
  }
}

export const scope = new ScopeChoice();
