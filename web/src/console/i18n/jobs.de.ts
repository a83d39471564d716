/** Die Wörter des Bereichs „jobs“ der Konsole, deutsch. */
import type { jobs as english } from "./jobs.en";

export const jobs: typeof english = {};
