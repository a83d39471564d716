/** The path of a small line: values from 0 to their largest; where nothing was measured the line breaks. */
export function sparkline(
  values: readonly (number | null)[],
  width: number,
  height: number,
): { line: string; area: string } | null {
  const most = Math.max(0, ...values.map((value) => value ?? 0));
  if (values.length < 2 || most <= 0) return null;
  const x = (index: number) => round((index / (values.length - 1)) * width);
  const y = (value: number) => round(height - 1 - (value / most) * (height - 3));
  let line = "";
  let area = "";
  for (const [from, to] of pieces(values)) {
    const points = values.slice(from, to).map((value, index) => `${x(from + index)} ${y(value ?? 0)}`);
    // A lone value is a short stroke, so that it is seen.
    if (points.length === 1) points.push(`${round(x(from) + 1)} ${y(values[from] ?? 0)}`);
    line += `M${points.join("L")}`;
    area += `M${x(from)} ${height}L${points.join("L")}L${x(to - 1)} ${height}Z`;
  }
  return { line, area };
}

/** Runs of values without a gap, as [first, behind the last]. */
function pieces(values: readonly (number | null)[]): [number, number][] {
  const found: [number, number][] = [];
  values.forEach((value, index) => {
    if (value === null) return;
    const last = found[found.length - 1];
    if (last !== undefined && last[1] === index) last[1] = index + 1;
    else found.push([index, index + 1]);
  });
  return found;
}

const round = (value: number) => Math.round(value * 100) / 100;
