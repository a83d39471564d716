/** How the owner of a conversation is called. Pure. */

import type { InspectedConversation } from "../api/inspected";

export function ownerName(owner: InspectedConversation["owner"], words: { left: string; key: (name: string) => string }): string {
  if (owner.name === "") return words.left;
  return owner.kind === "key" ? words.key(owner.name) : owner.name;
}
