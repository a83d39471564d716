/** The chosen language. English is built in; another one is loaded when it is chosen. */

import { recall, remember } from "../app/storage";
import { en, type Catalogue } from "./en";

export type Language = "en" | "de";

export const LANGUAGES: readonly { code: Language; name: string }[] = [
  { code: "en", name: "English" },
  { code: "de", name: "Deutsch" },
];

/** The stored choice, else the first of the browser's languages that exists here. */
export function preferredLanguage(stored: string | null, browser: readonly string[]): Language {
  for (const tag of [stored ?? "", ...browser]) {
    const code = tag.slice(0, 2).toLowerCase();
    if (code === "en" || code === "de") return code;
  }
  return "en";
}

class I18n {
  language = $state<Language>("en");
  t = $state.raw<Catalogue>(en);

  async use(language: Language): Promise<void> {
    this.t = language === "de" ? (await import("./de")).de : en;
    this.language = language;
    document.documentElement.lang = language;
  }

  choose(language: Language): void {
    remember("atrium.language", language);
    void this.use(language);
  }

  start(): Promise<void> {
    return this.use(preferredLanguage(recall("atrium.language"), navigator.languages));
  }

  number(value: number): string {
    return value.toLocaleString(this.language);
  }

  /** A short date, with the time when it is today. */
  moment(iso: string | undefined): string {
    const date = new Date(iso ?? "");
    if (Number.isNaN(date.getTime())) return "";
    const today = date.toDateString() === new Date().toDateString();
    return today
      ? date.toLocaleTimeString(this.language, { hour: "2-digit", minute: "2-digit" })
      : date.toLocaleDateString(this.language, { day: "numeric", month: "short", year: "numeric" });
  }
}

export const i18n = new I18n();
