/** A plot's figures made ready: pure, so that they are tested. */

export interface Series {
  label: string;
  values: readonly (number | null)[];
  tone?: "accent" | "good" | "warn" | "danger" | "plain" | "second" | "third" | undefined;
}

/** Each series on top of those before it; a gap counts as nothing. */
export function stacked(series: readonly Series[]): (number | null)[][] {
  const sums: number[] = [];
  return series.map(({ values }) =>
    values.map((value, index) => {
      sums[index] = (sums[index] ?? 0) + (value ?? 0);
      return sums[index];
    }),
  );
}

/** The pieces between two moments, both included. */
export function within(times: readonly number[], from: number, to: number): [number, number] {
  let first = times.findIndex((time) => time >= from);
  if (first < 0) first = times.length;
  let last = times.length;
  while (last > first && times[last - 1]! > to) last -= 1;
  return [first, last];
}

/** Whether there is anything to draw. */
export function hasFigures(series: readonly Series[]): boolean {
  return series.some(({ values }) => values.some((value) => value !== null && value !== 0));
}
