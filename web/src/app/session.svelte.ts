/** Who is signed in, in which tenant, and what can answer there. */

import { followTenantOf, goToLogin, storedTenant, storeTenant } from "../api/browser";
import { fetchAssistants, fetchMe, fetchModels } from "../api/endpoints";
import { ApiProblem } from "../api/problem";
import type { Assistant, Me, Model } from "../api/types";
import { usableModels } from "../chat/target";

class Session {
  me = $state.raw<Me | null>(null);
  assistants = $state.raw<Assistant[]>([]);
  models = $state.raw<Model[]>([]);
  problem = $state.raw<ApiProblem | null>(null);

  /** What is offered follows the server's own table; the server decides in the end. */
  get mayAsk(): boolean {
    return this.may("chat.use");
  }

  get mayEdit(): boolean {
    return this.may("knowledge.write");
  }

  get mayShape(): boolean {
    return this.may("assistants.write");
  }

  get maySeeUse(): boolean {
    return this.may("usage.read");
  }

  get tenantSlug(): string {
    return this.me?.tenant.slug ?? "";
  }

  private may(permission: string): boolean {
    return this.me?.permissions.includes(permission) ?? false;
  }

  async start(): Promise<void> {
    this.problem = null;
    try {
      this.me = await this.identify();
      if (this.me === null) return;
      storeTenant(this.me.tenant.slug);
      followTenantOf(this.me.tenant.slug);
      await this.reloadChoices();
    } catch (cause) {
      if (!(cause instanceof ApiProblem)) throw cause;
      this.problem = cause;
    }
  }

  async reloadChoices(): Promise<void> {
    const [assistants, models] = await Promise.all([fetchAssistants(), fetchModels()]);
    this.assistants = assistants;
    this.models = usableModels(models);
  }

  /** A remembered tenant may be gone: then the session's own one is asked for before giving up. */
  private async identify(): Promise<Me | null> {
    try {
      return await fetchMe();
    } catch (cause) {
      if (!(cause instanceof ApiProblem)) throw cause;
      if (storedTenant() !== null && (cause.status === 403 || cause.status === 404 || cause.status === 400)) {
        storeTenant(null);
        return this.identify();
      }
      if (cause.status === 401 || cause.status === 403) {
        goToLogin();
        return null;
      }
      throw cause;
    }
  }

  /** Everything on the page belongs to one tenant, so another one starts on a fresh page. */
  switchTenant(slug: string): void {
    storeTenant(slug);
    location.assign("/");
  }
}

export const session = new Session();
