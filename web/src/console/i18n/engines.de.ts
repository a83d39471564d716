/** Die Wörter des Bereichs „engines“ der Konsole, deutsch. */
import type { engines as english } from "./engines.en";

export const engines: typeof english = {};
