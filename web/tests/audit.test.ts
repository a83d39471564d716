import { expect, test } from "vitest";
import { differences, summary } from "../src/console/audit/differences";
import { actAmount, actLabel } from "../src/console/audit/told";

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

const LIMITS = { everyone: { user: "Every person", tenant: "The whole tenant" }, measures: { money_per_day: "Spending a day", storage_bytes: "Storage" } };
const FORMAT = { number: (value: number) => `n${value}`, money: (value: number) => `m${value}`, bytes: (value: number) => `b${value}` };
const act = (label: string, kind = "quota") => ({ kind, label, object_id: "id" });

test("whose limit of what an act was done to is said in the reader's words", () => {
  expect(actLabel(act("user ann lee@example.com money_per_day"), LIMITS)).toBe("ann lee@example.com: Spending a day");
  expect(actLabel(act("user money_per_day"), LIMITS)).toBe("Every person: Spending a day");
  expect(actLabel(act("user (each) money_per_day"), LIMITS)).toBe("Every person: Spending a day");
  expect(actLabel(act("tenant storage_bytes"), LIMITS)).toBe("The whole tenant: Storage");
  expect(actLabel(act("user of something new"), LIMITS)).toBe("user of something new");
  expect(actLabel(act("user money_per_day", "group"), LIMITS)).toBe("user money_per_day");
  expect(actLabel(act(""), LIMITS)).toBe("id");
});

test("amounts of limits are told in the units that people know", () => {
  const event = { ...act("user ann money_per_day"), before: { hard: null }, after: { hard: 5 } };
  expect(summary(event, {}, { ...SAID, amount: actAmount(event, FORMAT) })).toBe("hard: – → m5");
  expect(actAmount(act("tenant storage_bytes"), FORMAT)?.(1)).toBe("b1");
  expect(actAmount(act("user tokens_per_day"), FORMAT)?.(1)).toBe("n1");
  expect(actAmount(act("Sales", "group"), FORMAT)).toBeUndefined();
});

test("codes are told in words where there are any", () => {
  const event = { before: { role: "member" }, after: { role: "admin", other: "member" } };
  const values = { role: { member: "Mitglied" } };
  expect(summary(event, {}, { ...SAID, values })).toBe("other: member; role: Mitglied → admin");
});

test("a person's role is said in the reader's words", () => {
  const roles = { member: "Mitglied" };
  expect(actLabel(act("ann@example.com (member)", "membership"), LIMITS, roles)).toBe("ann@example.com (Mitglied)");
  expect(actLabel(act("ann@example.com (member, by the directory)", "membership"), LIMITS, roles)).toBe("ann@example.com (Mitglied)");
  expect(actLabel(act("ann@example.com (Reader)", "membership"), LIMITS, roles)).toBe("ann@example.com (Reader)");
});
