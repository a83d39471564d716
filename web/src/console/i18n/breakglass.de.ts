/** Words of the console's area "breakglass", in German. */
import type { breakglass as english } from "./breakglass.en";

export const breakglass: typeof english = {
  lead: "Betreiber kümmern sich um die Plattform und sehen keine Inhalte dieses Mandanten. Im Notfall kann einer sie lesen, mit Grund und auf Zeit; jedes Lesen steht im Protokoll.",
  ask: "Inhalte dieses Mandanten lesen",
  askLead: "Sie besuchen diesen Mandanten. Seine Eigentümer werden benachrichtigt, sehen den Grund und können es jederzeit beenden. Es öffnet Wissen und Unterhaltungen zum Lesen, sonst nichts.",
  reason: "Grund",
  reasonHelp: "Für den Mandanten, in 10–500 Zeichen: was geschehen ist, welches Ticket.",
  minutes: "Wie lange",
  minutesChoices: { "15": "15 Minuten", "60": "1 Stunde", "240": "4 Stunden", "480": "8 Stunden" },
  open: "Jetzt öffnen",
  opened: "Sie dürfen Inhalte lesen, bis es endet.",
  list: "Wer gelesen hat, und warum",
  states: { open: "offen", over: "abgelaufen", ended: "beendet" },
  until: "bis",
  from: "von",
  endedBy: (who: string) => `beendet von ${who}`,
  reads: (count: string) => `${count}-mal gelesen`,
  end: "Beenden",
  endOf: (who: string) => `Zugriff von ${who} beenden`,
  ended: "Es ist beendet.",
  emptyTitle: "Kein Betreiber hat etwas gelesen",
  emptyText: "Wenn einer Inhalte dieses Mandanten öffnet, steht es hier mit dem Grund.",
  audit: "Das Lesen im Protokoll ansehen",
};
