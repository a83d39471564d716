/** States and reasons of documents, as words and colours. */

import type { DocumentState, KnowledgeDocument } from "../api/knowledge";
import type { knowledge } from "../i18n/knowledge.en";
import type { Tone } from "../kit/tone";

type Words = typeof knowledge;

export const TONES: Record<DocumentState, Tone> = {
  queued: "plain",
  processing: "busy",
  ready: "good",
  failed: "danger",
};

/** What happened and what helps; the server's own words where the code is new to us. */
export function reasonOf(t: Words, row: Pick<KnowledgeDocument, "error" | "error_code">): { what: string; todo: string } {
  const known = t.reasons[row.error_code ?? ""];
  const [what, todo] = known ?? t.reasons.other ?? ["", ""];
  return { what: known === undefined ? (row.error ?? what) : what, todo };
}

/** Media types as people call them. */
export function typeOf(row: Pick<KnowledgeDocument, "media_type" | "file_name">): string {
  const ending = /\.([a-z0-9]{1,5})$/i.exec(row.file_name)?.[1];
  if (ending) return ending.toUpperCase();
  return row.media_type === "text/plain" ? "Text" : row.media_type.split("/").pop() || "–";
}
