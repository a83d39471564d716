/** What the banner about limits says, in English; chat and console share it. */

import type { UiWords } from "../ui/words.svelte";

export const limitWords: UiWords["limits"] = {
  show: "Show limits",
  again: (moment: string) => `It begins anew ${moment}.`,
  warned: (what: string, whose: string) => `Close to a limit${whose}: ${what}.`,
  reached: (what: string, whose: string) => `A limit${whose} is used up: ${what}. What goes beyond it is refused.`,
  whose: (level: string, name: string) =>
    ({ tenant: " of the whole tenant", group: ` of your group ${name}`, user: " of yours", model: ` of the model ${name}` })[level] ?? "",
  measures: {
    tokens_per_day: "tokens of this day",
    tokens_per_month: "tokens of this month",
    money_per_day: "spend of this day",
    money_per_month: "spend of this month",
    storage_bytes: "storage of documents",
    documents: "number of documents",
  },
};
