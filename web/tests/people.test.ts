import { describe, expect, it } from "vitest";
import { inDays, rolesUpTo, slugOf } from "../src/console/people/rights";

describe("rolesUpTo", () => {
  it("offers nobody a role above their own", () => {
    expect(rolesUpTo("admin", false)).toEqual(["admin", "member", "viewer"]);
    expect(rolesUpTo("viewer", false)).toEqual(["viewer"]);
  });

  it("offers operators all of them", () => {
    expect(rolesUpTo("viewer", true)).toEqual(["owner", "admin", "member", "viewer"]);
  });
});

describe("slugOf", () => {
  it.each([
    ["Müller & Söhne GmbH", "mueller-soehne-gmbh"],
    ["  Café Été  ", "cafe-ete"],
    ["Straße 7", "strasse-7"],
    ["مكتب", ""],
    ["-".repeat(80), ""],
    ["a".repeat(80), "a".repeat(63)],
    [`${"a".repeat(62)} b`, "a".repeat(62)],
  ])("makes a slug the server takes of %j", (name, slug) => {
    expect(slugOf(name)).toBe(slug);
    expect(slug === "" || /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(slug)).toBe(true);
  });
});

describe("inDays", () => {
  it("is a moment, or never", () => {
    expect(inDays(30, 0)).toBe("1970-01-31T00:00:00.000Z");
    expect(inDays(null)).toBeNull();
  });
});
