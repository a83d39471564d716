/** Die Wörter des Bereichs „knowledge“ der Konsole, deutsch. */
import type { knowledge as english } from "./knowledge.en";

export const knowledge: typeof english = {};
