/**
 * The console's words. A language is loaded when it is chosen, an area's words with its page; the
 * language not chosen is never loaded.
 */

import { recall } from "../../app/storage";
import { preferredLanguage, rememberLanguage, type Language } from "../../i18n/languages";
import { uiWords } from "../../ui/words.svelte";
import { CATALOGUES, type Area, type Areas } from "./areas";
import type { Kit } from "./kit.en";

const KITS: Record<Language, () => Promise<{ kit: Kit }>> = {
  en: () => import("./kit.en"),
  de: () => import("./kit.de"),
};

class ConsoleWords {
  language = $state<Language>("en");
  kit = $state.raw<Kit | null>(null);
  areas = $state.raw<Partial<Areas>>({});

  /** Loads the kit's words and those of all areas seen so far, then shows them at once. */
  async use(language: Language): Promise<void> {
    const seen = Object.keys(this.areas) as Area[];
    const [{ kit }, ...loaded] = await Promise.all([
      KITS[language](),
      ...seen.map((area) => loadArea(area, language)),
    ]);
    this.areas = Object.assign({}, ...loaded) as Partial<Areas>;
    this.kit = kit;
    this.language = language;
    uiWords.current = kit.ui;
    document.documentElement.lang = language;
  }

  /** The reader's own variety of the language (en-GB writes other dates than en-US), else the language. */
  get locale(): string {
    return navigator.languages.find((tag) => tag.toLowerCase().split("-")[0] === this.language) ?? this.language;
  }

  async need(area: Area): Promise<void> {
    if (this.areas[area] !== undefined) return;
    const loaded = await loadArea(area, this.language);
    this.areas = { ...this.areas, ...loaded };
  }

  choose(language: Language): void {
    rememberLanguage(language);
    void this.use(language);
  }

  start(): Promise<void> {
    return this.use(preferredLanguage(recall("atrium.language"), navigator.languages));
  }
}

async function loadArea(area: Area, language: Language): Promise<Partial<Areas>> {
  const loaded = (await CATALOGUES[area][language]()) as Partial<Areas>;
  return { [area]: loaded[area] } as Partial<Areas>;
}

export const i18n = new ConsoleWords();

/** The words of the kit and the shell. */
export function kit(): Kit {
  if (i18n.kit === null) throw new Error("the words are not loaded");
  return i18n.kit;
}

/** The words of an area, which the shell has loaded before the area's page. */
export function words<A extends Area>(area: A): Areas[A] {
  const found = i18n.areas[area];
  if (found === undefined) throw new Error(`the words of ${area} are not loaded`);
  return found as Areas[A];
}
