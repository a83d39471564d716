/** Light, dark or as the system says. `theme.js` in the page's head applies it before first paint. */

import { MediaQuery } from "svelte/reactivity";
import { recall, remember } from "./storage";

export type Theme = "system" | "light" | "dark";

const systemDark = new MediaQuery("prefers-color-scheme: dark");

class ThemeChoice {
  choice = $state<Theme>(stored());

  set(choice: Theme): void {
    this.choice = choice;
    remember("atrium.theme", choice === "system" ? null : choice);
    if (choice === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
  }

  /** What is seen now, whichever way it was chosen. */
  get dark(): boolean {
    return this.choice === "dark" || (this.choice === "system" && systemDark.current);
  }

  toggle(): void {
    this.set(this.dark ? "light" : "dark");
  }
}

function stored(): Theme {
  const value = recall("atrium.theme");
  return value === "light" || value === "dark" ? value : "system";
}

export const theme = new ThemeChoice();
