/** Die Wörter des Bereichs „requests“ der Konsole, deutsch. */
import type { requests as english } from "./requests.en";

export const requests: typeof english = {};
