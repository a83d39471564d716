/** The languages that exist here, and which of them a reader gets. */

import { remember } from "../app/storage";

export type Language = "en" | "de";

export const LANGUAGES: readonly { code: Language; name: string }[] = [
  { code: "en", name: "English" },
  { code: "de", name: "Deutsch" },
];

/** A choice holds for what the server writes too: its cookie tells it, for the pages of accounts and for messages. */
export function rememberLanguage(language: Language): void {
  remember("atrium.language", language);
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `atrium_language=${language}; path=/; max-age=31536000; samesite=lax${secure}`;
}

/** The stored choice, else the first of the browser's languages that exists here. */
export function preferredLanguage(stored: string | null, browser: readonly string[]): Language {
  for (const tag of [stored ?? "", ...browser]) {
    const code = tag.slice(0, 2).toLowerCase();
    if (code === "en" || code === "de") return code;
  }
  return "en";
}
