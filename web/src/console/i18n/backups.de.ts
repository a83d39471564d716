/** Die Wörter des Bereichs „backups“ der Konsole, deutsch. */
import type { backups as english } from "./backups.en";

export const backups: typeof english = {};
