/**
 * Which answers this tab was watching, so that a reload finds them again even before the message
 * list names them. Kept per tab; another tab learns of them from the message list.
 */

import { recall, remember } from "../app/storage";

const KEY = "atrium.running";

function read(): Record<string, string> {
  try {
    const value: unknown = JSON.parse(recall(KEY, "session") ?? "{}");
    return value !== null && typeof value === "object" ? (value as Record<string, string>) : {};
  } catch {
    return {};
  }
}

export function noteRunning(message: string, conversation: string): void {
  remember(KEY, JSON.stringify({ ...read(), [message]: conversation }), "session");
}

export function noteEnded(message: string): void {
  const notes = read();
  delete notes[message];
  remember(KEY, JSON.stringify(notes), "session");
}

export function runningIn(conversation: string): string[] {
  return Object.entries(read())
    .filter(([, place]) => place === conversation)
    .map(([message]) => message);
}
