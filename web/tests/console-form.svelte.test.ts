import { flushSync } from "svelte";
import { describe, expect, it, vi } from "vitest";
import { ApiProblem } from "../src/api/problem";
import { guards } from "../src/console/guards.svelte";
import { unsound } from "../src/console/kit/field";
import { FormState, type FormOptions } from "../src/console/kit/form.svelte";
import { ColumnChoice } from "../src/console/kit/table.svelte";

interface Values {
  name: string;
  role: string;
}

const given: Values = { name: "CI", role: "member" };

function formOf(options: Partial<FormOptions<Values, unknown>> & Pick<FormOptions<Values, unknown>, "save">) {
  return new FormState<Values, unknown>({ values: given, version: "v1", ...options });
}

describe("a form", () => {
  it("sends what changed with the version it has seen", async () => {
    const save = vi.fn().mockResolvedValue("saved");
    const done = vi.fn();
    const form = formOf({ save, done });
    expect(form.dirty).toBe(false);
    form.values.name = "Night build";
    expect(form.dirty).toBe(true);
    await form.submit();
    expect(save).toHaveBeenCalledWith({ name: "Night build", role: "member" }, { ifMatch: "v1", changed: { name: "Night build" } });
    expect(done).toHaveBeenCalledWith("saved");
    expect(form.dirty).toBe(false);
  });

  it("shows the server's errors at their fields until they are touched", async () => {
    const problem = new ApiProblem(400, "no", "invalid_request_error", "r1", { name: ["Taken."], other: ["Odd."] });
    const form = formOf({ save: () => Promise.reject(problem) });
    await form.submit();
    expect(form.errorsOf("name")).toEqual(["Taken."]);
    expect(form.rest).toEqual(["other: Odd."]);
    form.touched("name");
    expect(form.errorsOf("name")).toEqual([]);
    expect(form.rest).toEqual(["other: Odd."]);
  });

  it("compares when somebody else was quicker, and overwrites only when told to", async () => {
    const calls: unknown[] = [];
    const save = (values: Values, context: { ifMatch: string | undefined }) => {
      calls.push([values, context.ifMatch]);
      return context.ifMatch === "v2" ? Promise.resolve() : Promise.reject(new ApiProblem(412, "stale", "version_conflict"));
    };
    const fresh = () => Promise.resolve({ values: { name: "Theirs", role: "admin" }, version: "v2" });
    const form = formOf({ save, fresh });
    form.values.name = "Mine";
    await form.submit();
    expect(form.conflict).toEqual({ theirs: { name: "Theirs", role: "admin" }, version: "v2" });
    await form.resolve("overwrite");
    expect(calls.at(-1)).toEqual([{ name: "Mine", role: "admin" }, "v2"]);
    expect(form.conflict).toBeNull();
    expect(form.dirty).toBe(false);
  });

  it("takes theirs, and says when there is nothing left to edit", async () => {
    const stale = () => Promise.reject(new ApiProblem(412, "stale", "version_conflict"));
    const form = formOf({ save: stale, fresh: () => Promise.resolve({ values: { name: "T", role: "admin" }, version: "v2" }) });
    form.values.name = "Mine";
    await form.submit();
    await form.resolve("theirs");
    expect($state.snapshot(form.values)).toEqual({ name: "T", role: "admin" });
    expect(form.dirty).toBe(false);
    const gone = formOf({ save: stale, fresh: () => Promise.reject(new ApiProblem(404, "gone", "not_found")) });
    gone.values.name = "Mine";
    await gone.submit();
    expect(gone.gone).toBe(true);
  });

  it("takes fresh values in silence but keeps what was changed here", () => {
    const form = formOf({ save: () => Promise.resolve() });
    form.values.name = "Mine";
    form.accept({ name: "Theirs", role: "admin" }, "v2");
    expect($state.snapshot(form.values)).toEqual({ name: "Mine", role: "admin" });
  });

  it("is asked about before its changes are lost", () => {
    const form = formOf({ save: () => Promise.resolve() });
    const stop = form.watch();
    const leave = vi.fn();
    guards.ask(leave);
    expect(leave).toHaveBeenCalledTimes(1);
    form.values.name = "Mine";
    flushSync();
    guards.ask(leave);
    expect(leave).toHaveBeenCalledTimes(1);
    guards.answer(false);
    expect(leave).toHaveBeenCalledTimes(1);
    guards.ask(leave);
    guards.answer(true);
    expect(leave).toHaveBeenCalledTimes(2);
    stop();
  });
});

describe("chosen columns", () => {
  it("are remembered, and the one that names the row always stays", () => {
    localStorage.clear();
    const columns = [{ id: "name", primary: true }, { id: "role" }, { id: "used", hidden: true }];
    const choice = new ColumnChoice("t");
    expect(columns.map((column) => choice.shows(column))).toEqual([true, true, false]);
    choice.toggle(columns, "used");
    choice.toggle(columns, "role");
    const again = new ColumnChoice("t");
    expect(columns.map((column) => again.shows(column))).toEqual([true, false, true]);
  });
});

describe("what is wrong with a form", () => {
  it("is forgotten as a whole when its last field is touched", async () => {
    const problem = new ApiProblem(400, "name: Taken.", "invalid_request_error", "r1", { name: ["Taken."], role: ["No."] });
    const form = formOf({ save: () => Promise.reject(problem) });
    await form.submit();
    form.touched("name");
    expect(form.problem).toBe(problem);
    form.touched("role");
    expect(form.problem).toBeNull();
  });

  it("may be found before the server is asked", async () => {
    const save = vi.fn().mockResolvedValue("saved");
    const form = formOf({ save });
    form.mark({ name: ["This field is needed."] });
    expect(form.errorsOf("name")).toEqual(["This field is needed."]);
    expect(form.problem).toBeNull();
    await form.submit();
    expect(save).toHaveBeenCalledOnce();
    expect(form.errors).toEqual({});
  });
});

describe("a field that is wrong by itself", () => {
  const words = {
    required: "needed", email: "no address", url: "no url", number: "no number", whole: "whole",
    from: (least: string) => `from ${least}`, to: (most: string) => `to ${most}`, long: (most: number) => `long ${most}`, choose: "choose", other: "other",
  };
  const said = (html: string, value: string) => {
    const form = document.createElement("form");
    form.innerHTML = html;
    const field = form.elements[0] as HTMLInputElement;
    field.value = value;
    return unsound([field], words).map(({ text }) => text);
  };

  it("says so in the words given", () => {
    expect(said('<input required>', "")).toEqual(["needed"]);
    expect(said('<input type="email">', "nobody")).toEqual(["no address"]);
    expect(said('<input type="url">', "nowhere")).toEqual(["no url"]);
    expect(said('<input type="number" min="1">', "0")).toEqual(["from 1"]);
    expect(said('<input type="number" max="1000" step="1">', "1001")).toEqual(["to 1000"]);
    expect(said('<input type="number" step="1">', "1.5")).toEqual(["whole"]);
    expect(said('<textarea required></textarea>', "")).toEqual(["needed"]);
    expect(said('<input type="email" required>', "anna@example.com")).toEqual([]);
    const typed = document.createElement("input");
    typed.setCustomValidity("not chosen");
    expect(unsound([typed], words).map(({ text }) => text)).toEqual(["choose"]);
  });
});
