/** The chosen language. English is built in; another one is loaded when it is chosen. */

import { recall } from "../app/storage";
import { uiWords } from "../ui/words.svelte";
import { en, type Catalogue } from "./en";
import { preferredLanguage, rememberLanguage, type Language } from "./languages";

export { LANGUAGES, preferredLanguage, type Language } from "./languages";

class I18n {
  language = $state<Language>("en");
  t = $state.raw<Catalogue>(en);

  async use(language: Language): Promise<void> {
    this.t = language === "de" ? (await import("./de")).de : en;
    const { app, answer } = this.t;
    uiWords.current = {
      cancel: app.cancel,
      close: app.close,
      dismiss: app.dismiss,
      copy: answer.copy,
      copied: answer.copied,
      copyFailed: answer.copyFailed,
      limits: app.limits,
    };
    this.language = language;
    document.documentElement.lang = language;
  }

  choose(language: Language): void {
    rememberLanguage(language);
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
