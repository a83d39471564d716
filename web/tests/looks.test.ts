import { describe, expect, it } from "vitest";
import { rates, type Look } from "../src/console/engines/looks";

const look = (at: number, made: Record<string, number | null>): Look => ({ at, running: 0, waiting: 0, first: {}, gap: {}, made });

describe("tokens in a second", () => {
  it("are those since the look before", () => {
    const found = rates([look(10, { one: 100 }), look(12, { one: 300, two: 5 }), look(14, { one: 300, two: 25 })]);
    expect(found).toEqual([
      { label: "one", values: [null, 100, 0] },
      { label: "two", values: [null, null, 10] },
    ]);
  });

  it("are unknown where an engine began anew, or said nothing", () => {
    const found = rates([look(10, { one: 100 }), look(12, { one: 7 }), look(14, { one: null }), look(16, { one: 9 })]);
    expect(found).toEqual([{ label: "one", values: [null, null, null, null] }]);
  });
});
