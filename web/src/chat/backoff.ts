/**
 * How long to wait before reconnecting: doubling from half a second to fifteen, with up to half of
 * it random, so that a restarted server is not met by every browser at once.
 */
export function backoffMilliseconds(attempt: number, random: number, base = 500, ceiling = 15_000): number {
  const whole = Math.min(ceiling, base * 2 ** Math.max(0, attempt));
  return Math.round(whole / 2 + (whole / 2) * random);
}
