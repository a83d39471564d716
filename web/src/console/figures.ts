/** The arithmetic of figures shown: pure, so that it is tested. */

export type AgoUnit = "second" | "minute" | "hour" | "day" | "month" | "year";

const STEPS: readonly [AgoUnit, number][] = [
  ["year", 365 * 86_400],
  ["month", 30 * 86_400],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** A distance in milliseconds (negative: past) in its largest unit: of what is past whole ones, of what comes the nearest, so that seven days less a moment are seven. */
export function agoParts(distance: number): { value: number; unit: AgoUnit } {
  const seconds = distance / 1000;
  for (const [unit, length] of STEPS) {
    if (Math.abs(seconds) >= length) return { value: nearest(seconds / length), unit };
  }
  return { value: Math.abs(seconds) < 5 ? 0 : nearest(seconds), unit: "second" };
}

const nearest = (value: number) => (value > 0 ? Math.round(value) : Math.trunc(value));

const NANO = 1_000_000_000n;

/**
 * Nano-units as currency text: two places, more where the amount is small; never rounded to nothing.
 * Whole nano-units are exact beyond 2^53.
 */
export function moneyText(nano: number | string | bigint, language: string): string {
  const whole = toNano(nano);
  const size = whole < 0n ? -whole : whole;
  const places = size === 0n || size >= NANO / 10n ? 2 : size >= NANO / 1000n ? 4 : 6;
  const value = Number(whole) / Number(NANO);
  const least = 10 ** -places;
  if (size > 0n && Math.abs(value) < least) return `< ${local(least, places, language)}`;
  return local(value, places, language);
}

function local(value: number, places: number, language: string): string {
  return value.toLocaleString(language, { minimumFractionDigits: places, maximumFractionDigits: places });
}

/** A count of nano-units, or a decimal text of whole units as the API writes money. */
function toNano(value: number | string | bigint): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return BigInt(Math.round(value));
  const [, sign, units, rest] = /^(-?)(\d+)(?:\.(\d{1,9})\d*)?$/.exec(value) ?? [];
  if (units === undefined) return 0n;
  if (rest === undefined) return BigInt(value);
  const amount = BigInt(units) * NANO + BigInt(rest.padEnd(9, "0"));
  return sign === "-" ? -amount : amount;
}
