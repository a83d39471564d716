/** What the banner about limits says, in German; chat and console share it. */

import type { UiWords } from "../ui/words.svelte";

export const limitWords: UiWords["limits"] = {
  show: "Grenzen anzeigen",
  again: (moment: string) => `Es beginnt neu: ${moment}.`,
  warned: (what: string, whose: string) => `Eine Grenze${whose} ist fast erreicht: ${what}.`,
  reached: (what: string, whose: string) =>
    `Eine Grenze${whose} ist erreicht: ${what}. Was darüber hinausgeht, wird abgewiesen.`,
  whose: (level: string, name: string) =>
    ({ tenant: " des ganzen Mandanten", group: ` Ihrer Gruppe ${name}`, user: " von Ihnen", model: ` des Modells ${name}` })[level] ?? "",
  measures: {
    tokens_per_day: "Tokens dieses Tages",
    tokens_per_month: "Tokens dieses Monats",
    money_per_day: "Ausgaben dieses Tages",
    money_per_month: "Ausgaben dieses Monats",
    storage_bytes: "Speicher für Dokumente",
    documents: "Zahl der Dokumente",
  },
};
