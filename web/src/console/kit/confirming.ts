/** What is typed before something is destroyed: a short name in full, of a longer one its end. Pure. */

/** So much is typed without a thought, on a phone too. */
const MOST = 12;
const END = 6;

const signs = (text: string) => [...text.normalize("NFKC").toLowerCase()].filter((sign) => /[\p{L}\p{N}]/u.test(sign)).join("");

/** A name in two parts, of which the second is to be typed. */
export function partsOf(name: string): { before: string; typed: string } {
  const whole = name.trim();
  if (signs(whole).length <= MOST) return { before: "", typed: whole };
  const letters = [...whole];
  let at = letters.length;
  for (let left = END; left > 0 && at > 0; at -= 1) {
    if (signs(letters[at - 1]!) !== "") left -= 1;
  }
  return { before: letters.slice(0, at).join(""), typed: letters.slice(at).join("") };
}

/** Whether what was typed is what was asked for, or the whole name; phones write capitals of their own, and nobody types dots. */
export function confirms(typed: string, name: string): boolean {
  const given = signs(typed);
  const [short, whole] = [signs(partsOf(name).typed), signs(name)];
  // A name of signs alone has nothing to compare but itself.
  if (short === "") return typed.trim() === name.trim();
  return given === short || given === whole;
}
