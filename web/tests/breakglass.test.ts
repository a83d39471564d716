import { expect, test } from "vitest";
import { ownerName } from "../src/console/breakglass/owner";

test("a person, a program's key and somebody who left each have a name", () => {
  const words = { left: "gone", key: (name: string) => `Key ${name}` };
  expect(ownerName({ kind: "user", id: "1", name: "ann@example.com" }, words)).toBe("ann@example.com");
  expect(ownerName({ kind: "key", id: "2", name: "bot" }, words)).toBe("Key bot");
  expect(ownerName({ kind: "key", id: "2", name: "" }, words)).toBe("gone");
});
