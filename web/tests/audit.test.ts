import { expect, test } from "vitest";
import { differences, summary } from "../src/console/audit/differences";

const SAID = { yes: "yes", no: "no" };

test("each value that differs is a line, whatever side it is on", () => {
  const event = { before: { role: "member", gone: "x" }, after: { role: "admin", fresh: 3 } };
  expect(differences(event, SAID)).toEqual([
    { name: "fresh", before: null, after: "3" },
    { name: "gone", before: "x", after: null },
    { name: "role", before: "member", after: "admin" },
  ]);
  expect(summary(event, {}, SAID)).toBe("fresh: 3; gone: x; role: member → admin");
  expect(summary(event, { role: "Rolle" }, SAID)).toBe("fresh: 3; gone: x; Rolle: member → admin");
});

test("nothing, lists and nested values can be read", () => {
  const event = { before: { a: null, b: "" }, after: { a: ["x", "y"], b: { c: [1] }, d: [] } };
  expect(differences(event, SAID).map((one) => [one.before, one.after])).toEqual([
    ["–", "x, y"],
    ["–", '{"c":[1]}'],
    [null, "–"],
  ]);
  expect(summary({ before: {}, after: {} }, {}, SAID)).toBe("");
});

test("what was made is told by the values it has, and yes and no are words", () => {
  const event = { before: {}, after: { disabled: false, expires_at: null, restricted: true } };
  expect(summary(event, {}, { yes: "ja", no: "nein" })).toBe("disabled: nein; restricted: ja");
  expect(summary({ before: { expires_at: "x" }, after: { expires_at: null } }, {}, SAID)).toBe("expires at: x → –");
});
