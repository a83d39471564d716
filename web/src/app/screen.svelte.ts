/** Widths at which the layout changes; rem, so that a larger text size counts as a smaller screen. */

import { MediaQuery } from "svelte/reactivity";

export const narrow = new MediaQuery("max-width: 52rem");
export const roomy = new MediaQuery("min-width: 80rem");

class Panels {
  /** The drawer of a narrow screen. */
  drawer = $state(false);
  /** The sidebar of a wide screen, put aside. */
  aside = $state(false);
  palette = $state(false);
}

export const panels = new Panels();
