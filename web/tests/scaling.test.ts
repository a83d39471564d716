import { describe, expect, it } from "vitest";
import type { Decision } from "../src/console/api/scaling";
import { overTime, turns } from "../src/console/engines/scaling";

const decision = (second: number, desired: number, provisioned = 1): Decision => ({
  id: String(second),
  at: new Date(second * 1000).toISOString(),
  mode: "dry_run",
  desired,
  provisioned,
  ready: provisioned,
  need: desired - 0.5,
  reasons: [],
  outcome: "",
});

describe("what was decided of replicas", () => {
  const newestFirst = [decision(40, 3, 2), decision(30, 3, 2), decision(20, 3), decision(10, 1)];

  it("is a curve from the earliest on", () => {
    const curves = overTime(newestFirst);
    expect(curves.times).toEqual([10, 20, 30, 40]);
    expect(curves.desired).toEqual([1, 3, 3, 3]);
    expect(curves.provisioned).toEqual([1, 1, 2, 2]);
    expect(overTime([]).times).toEqual([]);
  });

  it("is listed where it was another than before", () => {
    expect(turns(newestFirst).map((one) => one.id)).toEqual(["30", "20", "10"]);
  });
});
