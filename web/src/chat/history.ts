/** Pages of stored messages, put into reading order whichever way the server lists them. */

import type { Page, StoredMessage } from "../api/types";

export function inReadingOrder(messages: readonly StoredMessage[]): StoredMessage[] {
  return messages
    .filter((message) => message.role === "user" || message.role === "assistant")
    .map((message, place) => ({ message, place }))
    .sort((left, right) => {
      const byTime = Date.parse(left.message.created_at) - Date.parse(right.message.created_at);
      // A question and its answer may share a timestamp: ids (UUIDv7) then tell the order.
      return byTime || left.message.id.localeCompare(right.message.id) || left.place - right.place;
    })
    .map(({ message }) => message);
}

/** True when the following pages hold older messages; false when they hold newer ones. */
export function newestFirst(page: Page<StoredMessage>): boolean {
  const first = page.results[0];
  const last = page.results.at(-1);
  if (!first || !last) return true;
  const difference = Date.parse(first.created_at) - Date.parse(last.created_at);
  return difference === 0 ? first.id > last.id : difference > 0;
}
