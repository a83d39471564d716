/**
 * Copies text; false when the browser refuses. The clipboard API exists only on https and localhost,
 * so an installation on a plain http address copies through a selection.
 */
export async function copyText(text: string): Promise<boolean> {
  if (navigator.clipboard !== undefined) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused: the older way may still be allowed.
    }
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  const host = document.querySelector("dialog[open]") ?? document.body;
  host.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  return copied;
}
