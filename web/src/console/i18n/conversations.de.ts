/** Wörter des Bereichs "conversations", auf Deutsch. */

import type { conversations as english } from "./conversations.en";

export const conversations: typeof english = {
  title: "Meine Unterhaltungen",
  lead: "Ihre eigenen Unterhaltungen in diesem Mandanten. Niemand sonst sieht sie hier, und Sie sehen nur Ihre.",
  search: "Titel und Nachrichten suchen",
  name: "Titel",
  untitled: "Ohne Titel",
  assistant: "Assistent",
  noAssistant: "Keiner",
  updated: "Letzte Nachricht",
  created: "Begonnen",
  emptyTitle: "Noch keine Unterhaltungen",
  emptyText: "Sie erscheinen hier, sobald Sie im Chat etwas fragen.",
  openChat: "Zum Chat",
  open: "Im Chat öffnen",
  rename: "Umbenennen",
  renamed: "Umbenannt",
  renameTitle: "Unterhaltung umbenennen",
  delete: "Löschen",
  deleted: (n) => (n === 1 ? "Unterhaltung gelöscht" : `${n} Unterhaltungen gelöscht`),
  deleteMany: (n) => (n === 1 ? "1 Unterhaltung löschen" : `${n} Unterhaltungen löschen`),
  export: "Exportieren",
  asMarkdown: "Als Markdown exportieren",
  asJson: "Als JSON exportieren",
  exportFailed: "Der Export ist gescheitert.",
};
