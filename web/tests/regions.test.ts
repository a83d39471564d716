import { describe, expect, it } from "vitest";
import { regionChoices } from "../src/console/people/regions";

const t = { regionAny: "anywhere", regionEmpty: (name: string) => `${name} is empty` };

describe("the regions of a tenant", () => {
  it("are anywhere and those that engines are in", () => {
    expect(regionChoices(["eu", "us"], ["", "eu"], t).map((each) => each.label)).toEqual(["anywhere", "eu", "us"]);
    expect(regionChoices([], [], t)).toEqual([{ value: "", label: "anywhere" }]);
  });

  it("keep one that no engine is in any more, and say so", () => {
    expect(regionChoices(["us"], ["eu", "eu"], t).at(-1)).toEqual({ value: "eu", label: "eu is empty" });
  });
});
