/** The path of a small line: values from 0 to their largest, gaps bridged. */
export function sparkline(
  values: readonly (number | null)[],
  width: number,
  height: number,
): { line: string; area: string } | null {
  const points = values.flatMap((value, index) => (value === null ? [] : [{ index, value }]));
  if (points.length < 2) return null;
  const most = Math.max(...points.map((point) => point.value));
  if (most <= 0) return null;
  const last = values.length - 1;
  const at = points.map(({ index, value }) => {
    const x = (index / last) * width;
    const y = height - 1 - (value / most) * (height - 3);
    return `${round(x)} ${round(y)}`;
  });
  const line = `M${at.join("L")}`;
  const from = round((points[0]!.index / last) * width);
  const to = round((points[points.length - 1]!.index / last) * width);
  return { line, area: `${line}L${to} ${height}L${from} ${height}Z` };
}

const round = (value: number) => Math.round(value * 100) / 100;
