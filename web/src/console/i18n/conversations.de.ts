/** Die Wörter des Bereichs „conversations“ der Konsole, deutsch. */
import type { conversations as english } from "./conversations.en";

export const conversations: typeof english = {};
