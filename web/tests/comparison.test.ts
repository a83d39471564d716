import { describe, expect, it } from "vitest";
import { boundsOf, signed } from "../src/console/choice/estimates";

const words = { between: (low: string, high: string) => `${low} to ${high}`, few: (count: number) => `of ${count}` };
const told = (value: number) => `${value} ms`;

describe("what copies have shown", () => {
  it("is told with its bounds, or with how few it rests on", () => {
    expect(boundsOf({ value: 5, low: -1, high: 11, count: 40 }, signed(told), words)).toBe("−1 ms to +11 ms");
    expect(boundsOf({ value: 5, low: null, high: null, count: 3 }, told, words)).toBe("of 3");
    expect(boundsOf(null, told, words)).toBe("");
  });

  it("has the sign of a difference, and none when there is no difference", () => {
    expect([-2, 0, 2].map(signed(told))).toEqual(["−2 ms", "0 ms", "+2 ms"]);
  });
});
