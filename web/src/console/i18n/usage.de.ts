/** Die Wörter des Bereichs „usage“ der Konsole, deutsch. */
import type { usage as english } from "./usage.en";

export const usage: typeof english = {};
