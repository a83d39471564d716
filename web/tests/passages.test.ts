import { describe, expect, it } from "vitest";
import type { Passage } from "../src/api/types";
import { overlap, readable, segments } from "../src/chat/passages";

const shared = "This sentence stands in both passages.";
const passage = (position: number, text: string, heading: string | null = "A"): Passage => ({
  chunk_id: `k${position}`,
  text,
  heading,
  position,
});

describe("passages around a citation", () => {
  it("finds text that two neighbours share, but no chance likeness", () => {
    expect(overlap(`One. ${shared}`, `${shared} Two.`)).toBe(shared.length);
    expect(overlap("ends with the", "the start")).toBe(0);
    expect(overlap("", "x")).toBe(0);
  });

  it("says shared text once and keeps the cited passage whole", () => {
    const rows = [passage(2, `${shared} Two. ${shared}`), passage(1, `One. ${shared}`), passage(3, `${shared} Three.`)];
    expect(readable(rows, "k2").map((one) => one.text)).toEqual(["One.", `${shared} Two. ${shared}`, "Three."]);
    expect(readable(rows, "k1").map((one) => one.text)).toEqual([`One. ${shared}`, `Two. ${shared}`, "Three."]);
  });

  it("shows a heading only where it changes, and drops what is wholly repeated", () => {
    const rows = [passage(1, `One. ${shared}`, "A"), passage(2, shared, "A"), passage(3, "Three.", "B")];
    expect(readable(rows, "k1").map((one) => [one.text, one.heading])).toEqual([
      [`One. ${shared}`, "A"],
      ["Three.", "B"],
    ]);
  });

  it("takes inline code apart and nothing else", () => {
    expect(segments("Run `make run` now, not <b>`")).toEqual([
      { text: "Run ", code: false },
      { text: "make run", code: true },
      { text: " now, not <b>`", code: false },
    ]);
    expect(segments("")).toEqual([]);
  });
});
