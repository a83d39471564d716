/** Decisions as a plot and a list take them: pure, so that they are tested. */

import type { Decision } from "../api/scaling";

export interface OverTime {
  /** Unix seconds, the earliest first. */
  times: number[];
  desired: number[];
  provisioned: number[];
  ready: number[];
}

/** Decisions, the newest first, as curves. */
export function overTime(decisions: readonly Decision[]): OverTime {
  const ordered = [...decisions].reverse();
  return {
    times: ordered.map((one) => Date.parse(one.at) / 1000),
    desired: ordered.map((one) => one.desired),
    provisioned: ordered.map((one) => one.provisioned),
    ready: ordered.map((one) => one.ready),
  };
}

/** Of decisions, the newest first, those at which something else was decided than before; the first of each run. */
export function turns(decisions: readonly Decision[]): Decision[] {
  return decisions.filter((one, index) => {
    const before = decisions[index + 1];
    return before === undefined || before.desired !== one.desired || before.provisioned !== one.provisioned;
  });
}
