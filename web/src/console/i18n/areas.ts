/** The catalogues of the areas: which exist, and where each language of them is. */

import type { access } from "./access.en";
import type { accounts } from "./accounts.en";
import type { assistants } from "./assistants.en";
import type { audit } from "./audit.en";
import type { backups } from "./backups.en";
import type { choice } from "./choice.en";
import type { comparison } from "./comparison.en";
import type { conversations } from "./conversations.en";
import type { engines } from "./engines.en";
import type { home } from "./home.en";
import type { jobs } from "./jobs.en";
import type { knowledge } from "./knowledge.en";
import type { limits } from "./limits.en";
import type { people } from "./people.en";
import type { requests } from "./requests.en";
import type { breakglass } from "./breakglass.en";
import type { provisioning } from "./provisioning.en";
import type { scaling } from "./scaling.en";
import type { signin } from "./signin.en";
import type { sources } from "./sources.en";
import type { tenant } from "./tenant.en";
import type { upkeep } from "./upkeep.en";
import type { webhooks } from "./webhooks.en";
import type { usage } from "./usage.en";

export interface Areas {
  access: typeof access;
  accounts: typeof accounts;
  assistants: typeof assistants;
  audit: typeof audit;
  backups: typeof backups;
  choice: typeof choice;
  comparison: typeof comparison;
  conversations: typeof conversations;
  engines: typeof engines;
  home: typeof home;
  jobs: typeof jobs;
  knowledge: typeof knowledge;
  limits: typeof limits;
  people: typeof people;
  requests: typeof requests;
  breakglass: typeof breakglass;
  provisioning: typeof provisioning;
  scaling: typeof scaling;
  signin: typeof signin;
  sources: typeof sources;
  tenant: typeof tenant;
  upkeep: typeof upkeep;
  usage: typeof usage;
  webhooks: typeof webhooks;
}

export type Area = keyof Areas;

type Loader<A extends Area> = () => Promise<Record<A, Areas[A]>>;

export const CATALOGUES: { [A in Area]: { en: Loader<A>; de: Loader<A> } } = {
  access: { en: () => import("./access.en"), de: () => import("./access.de") },
  accounts: { en: () => import("./accounts.en"), de: () => import("./accounts.de") },
  assistants: { en: () => import("./assistants.en"), de: () => import("./assistants.de") },
  audit: { en: () => import("./audit.en"), de: () => import("./audit.de") },
  backups: { en: () => import("./backups.en"), de: () => import("./backups.de") },
  choice: { en: () => import("./choice.en"), de: () => import("./choice.de") },
  comparison: { en: () => import("./comparison.en"), de: () => import("./comparison.de") },
  conversations: { en: () => import("./conversations.en"), de: () => import("./conversations.de") },
  engines: { en: () => import("./engines.en"), de: () => import("./engines.de") },
  home: { en: () => import("./home.en"), de: () => import("./home.de") },
  jobs: { en: () => import("./jobs.en"), de: () => import("./jobs.de") },
  knowledge: { en: () => import("./knowledge.en"), de: () => import("./knowledge.de") },
  limits: { en: () => import("./limits.en"), de: () => import("./limits.de") },
  people: { en: () => import("./people.en"), de: () => import("./people.de") },
  requests: { en: () => import("./requests.en"), de: () => import("./requests.de") },
  breakglass: { en: () => import("./breakglass.en"), de: () => import("./breakglass.de") },
  provisioning: { en: () => import("./provisioning.en"), de: () => import("./provisioning.de") },
  scaling: { en: () => import("./scaling.en"), de: () => import("./scaling.de") },
  signin: { en: () => import("./signin.en"), de: () => import("./signin.de") },
  sources: { en: () => import("./sources.en"), de: () => import("./sources.de") },
  tenant: { en: () => import("./tenant.en"), de: () => import("./tenant.de") },
  upkeep: { en: () => import("./upkeep.en"), de: () => import("./upkeep.de") },
  usage: { en: () => import("./usage.en"), de: () => import("./usage.de") },
  webhooks: { en: () => import("./webhooks.en"), de: () => import("./webhooks.de") },
};
