/** What fields of one form share. */

/** The ids that describe a field for a screen reader. */
export function describedBy(id: string, help: string | undefined, errors: readonly string[]): string | undefined {
  const ids = [help ? `${id}-help` : "", errors.length > 0 ? `${id}-error` : ""].filter(Boolean);
  return ids.length > 0 ? ids.join(" ") : undefined;
}

/** A moment as `datetime-local` takes it, in the reader's zone; "" for none. */
export function localMoment(iso: string | null | undefined): string {
  if (!iso) return "";
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}

/** The moment of a `datetime-local` value, in UTC; null for none. */
export function momentOf(local: string): string | null {
  const date = new Date(local);
  return local === "" || Number.isNaN(date.getTime()) ? null : date.toISOString();
}

export type FieldNode = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

/** The fields of a form that can be wrong by themselves. */
export const FIELDS = "input, textarea, select";

/** What to say of a field that is wrong by itself; numbers come as the field names them. */
export interface InvalidWords {
  required: string;
  email: string;
  url: string;
  number: string;
  whole: string;
  from: (least: string) => string;
  to: (most: string) => string;
  long: (most: number) => string;
  choose: string;
  other: string;
}

/** Which fields are wrong by themselves, and why: in the console's words, where the browser would use its own. */
export function unsound(fields: Iterable<FieldNode>, words: InvalidWords): { field: FieldNode; text: string }[] {
  return Array.from(fields)
    .filter((field) => field.willValidate && !field.validity.valid)
    .map((field) => ({ field, text: invalidText(field, words) }));
}

function invalidText(field: FieldNode, words: InvalidWords): string {
  const { validity } = field;
  const { min, max, step, type } = field as HTMLInputElement;
  if (validity.customError) return words.choose;
  if (validity.badInput) return type === "number" ? words.number : words.other;
  if (validity.valueMissing) return words.required;
  if (validity.typeMismatch) return type === "email" ? words.email : words.url;
  if (validity.rangeUnderflow) return words.from(min);
  if (validity.rangeOverflow) return words.to(max);
  if (validity.stepMismatch && step === "1") return words.whole;
  if (validity.tooLong) return words.long((field as HTMLInputElement).maxLength);
  return words.other;
}

/** Takes the focus when it appears, unless somebody is writing already. */
export function takeFocus(wanted: boolean): ((node: HTMLElement) => void) | undefined {
  if (!wanted) return undefined;
  return (node) => {
    if (!document.activeElement?.matches(FIELDS)) node.focus({ preventScroll: true });
  };
}

/** The number of a field's text; null when it is empty. What is no number stays as it is, so that the server can say so. */
export function numberOf(text: string): number | string | null {
  const plain = text.trim();
  if (plain === "") return null;
  const value = Number(plain);
  return Number.isFinite(value) ? value : plain;
}
