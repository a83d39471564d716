/** The plotting library behind `Plot`; loaded with the first plot that is shown. */

import "uplot/dist/uPlot.min.css";
import uPlot from "uplot";

export interface Drawing {
  times: number[];
  columns: (number | null)[][];
  colours: string[];
  ink: string;
  line: string;
  font: string;
  kind: "line" | "area" | "bars";
  height: number;
  language: string;
  format: (value: number) => string;
  hover: (index: number | null) => void;
  brush: ((from: number, to: number) => void) | undefined;
}

const DAY = 86_400;

export function makePlot(node: HTMLElement, drawing: Drawing): uPlot {
  const options: uPlot.Options = {
    width: node.clientWidth,
    height: drawing.height,
    padding: [8, 32, 0, 0],
    legend: { show: false },
    cursor: { points: { size: 7 }, drag: { x: true, y: false, setScale: drawing.brush === undefined } },
    scales: { y: { range: (_, _least, most) => [0, most > 0 ? most * 1.08 : 1] } },
    axes: [timeAxis(drawing), valueAxis(drawing)],
    series: [{}, ...drawing.columns.map((_, index) => seriesOf(drawing, index))],
    hooks: {
      setCursor: [(plot) => drawing.hover(plot.cursor.idx ?? null)],
      setSelect: [(plot) => brushed(plot, drawing.brush)],
    },
  };
  // The last column stands highest where they are stacked: it is drawn first, behind the others.
  return new uPlot(options, [drawing.times, ...drawing.columns], node);
}

function seriesOf(drawing: Drawing, index: number): uPlot.Series {
  const stroke = drawing.colours[index] ?? drawing.ink;
  const fill = stroke.replace(/^rgb\(/, "rgba(").replace(/\)$/, ", 0.14)");
  if (drawing.kind === "bars") {
    const paths = uPlot.paths.bars?.({ size: [0.72, 40], radius: 0.15 });
    return { stroke, fill: stroke, width: 0, points: { show: false }, ...(paths ? { paths } : {}) };
  }
  const points: uPlot.Series.Points = { show: true, size: 5, fill: stroke, filter: lonely };
  return { stroke, width: 1.75, spanGaps: false, points, ...(drawing.kind === "area" ? { fill } : {}) };
}

/** Values between two gaps: no line reaches them, so they are shown as points. */
function lonely(plot: uPlot, index: number): number[] {
  const values = plot.data[index] ?? [];
  const there = (at: number) => values[at] !== null && values[at] !== undefined;
  return [...values.keys()].filter((at) => there(at) && !there(at - 1) && !there(at + 1));
}

function timeAxis(drawing: Drawing): uPlot.Axis {
  return {
    stroke: drawing.ink,
    font: drawing.font,
    grid: { show: false },
    ticks: { show: false },
    size: 24,
    space: 72,
    values: (_, splits, _axis, _space, step) =>
      splits.map((moment) => {
        const date = new Date(moment * 1000);
        const clock: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit" };
        if (step < 60) clock.second = "2-digit";
        const options: Intl.DateTimeFormatOptions = step >= DAY ? { day: "numeric", month: "short" } : clock;
        const midnight = step < DAY && date.getHours() === 0 && date.getMinutes() === 0;
        return midnight
          ? date.toLocaleDateString(drawing.language, { day: "numeric", month: "short" })
          : date.toLocaleString(drawing.language, options);
      }),
  };
}

function valueAxis(drawing: Drawing): uPlot.Axis {
  return {
    stroke: drawing.ink,
    font: drawing.font,
    grid: { stroke: drawing.line, width: 1 },
    ticks: { show: false },
    space: 36,
    size: (_, values) => 14 + Math.max(...(values ?? [""]).map((value) => value.length)) * 6.5,
    values: (_, splits) => distinct(splits.map((value) => drawing.format(value))),
  };
}

/** Labels of ticks that are closer than they can say are told once. */
function distinct(labels: string[]): string[] {
  return labels.map((label, index) => (label === labels[index - 1] ? "" : label));
}

function brushed(plot: uPlot, brush: Drawing["brush"]): void {
  const { left, width } = plot.select;
  if (brush === undefined || width < 4) return;
  brush(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
}
