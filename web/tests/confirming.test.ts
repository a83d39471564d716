import { describe, expect, it } from "vitest";
import { confirms, partsOf } from "../src/console/kit/confirming";

describe("what is typed before something is destroyed", () => {
  it.each([
    ["harbour", "", "harbour"],
    ["Harbour Authority", "Harbour Aut", "hority"],
    ["atrium-20261129-183512-3f9a", "atrium-20261129-1835", "12-3f9a"],
    ["10.0.0.17:8000", "", "10.0.0.17:8000"],
    ["  spaced  ", "", "spaced"],
    ["一二三四五六七八九十百千万億", "一二三四五六七八", "九十百千万億"],
    ["!!!", "", "!!!"],
  ])("of %s it is its end", (name, before, typed) => expect(partsOf(name)).toEqual({ before, typed }));

  it.each([
    ["harbour", "harbour"],
    ["harbour", " Harbour "],
    ["atrium-20261129-183512-3f9a", "123F9A"],
    ["atrium-20261129-183512-3f9a", "12-3f9a"],
    ["atrium-20261129-183512-3f9a", "atrium-20261129-183512-3f9a"],
    ["!!!", "!!!"],
  ])("%s is confirmed by %s", (name, typed) => expect(confirms(typed, name)).toBe(true));

  it.each([
    ["harbour", ""],
    ["harbour", "harbou"],
    ["atrium-20261129-183512-3f9a", "3f9a"],
    ["atrium-20261129-183512-3f9a", "atrium"],
    ["!!!", "???"],
  ])("%s is not confirmed by %s", (name, typed) => expect(confirms(typed, name)).toBe(false));
});
