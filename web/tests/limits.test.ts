import { expect, test } from "vitest";
import { amountOf, typedOf } from "../src/console/limits/amounts";

test("money is typed in units and sent in billionths of them", () => {
  expect(amountOf(12.5, "money_per_month")).toBe(12_500_000_000);
  expect(amountOf(0.1, "money_per_day")).toBe(100_000_000);
  expect(typedOf(250_000_000_000, "money_per_month")).toBe(250);
});

test("everything else is the number itself, and nothing is nothing", () => {
  expect(amountOf(600, "requests_per_minute")).toBe(600);
  expect(typedOf(8, "concurrency")).toBe(8);
  expect(amountOf(null, "money_per_day")).toBeNull();
  expect(typedOf(null, "tokens_per_day")).toBeNull();
});

test("storage is typed in the megabytes in which it is shown", () => {
  expect(amountOf(1.5, "storage_bytes")).toBe(1_500_000);
  expect(typedOf(5_000_000, "storage_bytes")).toBe(5);
});
