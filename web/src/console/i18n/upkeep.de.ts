/** Die Wörter des Bereichs „upkeep“ der Konsole, deutsch. */
import type { upkeep as english } from "./upkeep.en";

export const upkeep: typeof english = {};
