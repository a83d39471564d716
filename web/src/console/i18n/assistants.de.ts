/** Die Wörter des Bereichs „assistants“ der Konsole, deutsch. */
import type { assistants as english } from "./assistants.en";

export const assistants: typeof english = {};
