/** Die Wörter des Bereichs „people“ der Konsole, deutsch. */
import type { people as english } from "./people.en";

export const people: typeof english = {};
