import { describe, expect, it } from "vitest";
import { fieldErrors, problemFrom } from "../src/api/problem";
import type { Overview } from "../src/console/api/home";
import { readFinds } from "../src/console/api/finds";
import { cursorOf, fileNameOf, withQuery } from "../src/console/api/paths";
import { agoParts, moneyText } from "../src/console/figures";
import { actHref, change, needsOf } from "../src/console/home/needs";
import { changedFields, differences, equal, merged } from "../src/console/kit/changes";
import { localMoment, momentOf, numberOf } from "../src/console/kit/field";
import { hasFigures, stacked, within } from "../src/console/kit/plot";
import { rangeOf } from "../src/console/kit/ranges";
import { sparkline } from "../src/console/kit/spark";
import { listAddress, nextSort } from "../src/console/kit/table.svelte";
import { GROUPS, PAGES } from "../src/console/pages";
import { formatPlace, normalPath, parsePlace, restBehind, scopeOf, withValues, type Scope } from "../src/console/routes";
import { pageOf } from "../src/console/shell/find";
import { EventReader, liveDelay } from "../src/console/sse";

const demo: Scope = { kind: "tenant", slug: "demo" };
const acme: Scope = { kind: "tenant", slug: "acme" };

describe("addresses of the console", () => {
  it("name the scope only when it is not one's own", () => {
    const place = parsePlace("/console/keys?state=active");
    expect(formatPlace(place, demo, demo)).toBe("/console/keys?state=active");
    expect(formatPlace(place, acme, demo)).toBe("/console/keys?state=active&in=acme");
    expect(formatPlace(place, { kind: "platform" }, demo)).toBe("/console/keys?state=active&in=*");
  });

  it("read the scope back", () => {
    expect(scopeOf(parsePlace("/console/?in=*").query)).toEqual({ kind: "platform" });
    expect(scopeOf(parsePlace("/console/?in=acme").query)).toEqual(acme);
    expect(scopeOf(parsePlace("/console/").query)).toBeNull();
  });

  it.each([
    ["/console", "/console/"],
    ["/console/", "/console/"],
    ["/console/keys/", "/console/keys"],
  ])("have one form: %s", (given, wanted) => expect(normalPath(given)).toBe(wanted));

  it("find the page and what lies behind it", () => {
    expect(restBehind("/console/keys/a%2Fb", "/console/keys")).toEqual(["a/b"]);
    expect(restBehind("/console/keysmith", "/console/keys")).toBeNull();
    expect(restBehind("/console/keys/%E0%A4%A", "/console/keys")).toBeNull();
    expect(pageOf("/console/knowledge/1/2")).toMatchObject({ page: { id: "knowledge" }, rest: ["1", "2"] });
    expect(pageOf("/console/")?.page.id).toBe("home");
    expect(pageOf("/console/nowhere")).toBeNull();
  });

  it("change values and keep the others", () => {
    const query = new URLSearchParams("q=a&cursor=x");
    expect(withValues(query, { q: "b", cursor: null }).toString()).toBe("q=b");
  });
});

describe("the page table", () => {
  it("has each page once, in a known group, at its own address", () => {
    expect(new Set(PAGES.map((page) => page.id)).size).toBe(PAGES.length);
    for (const page of PAGES) {
      expect(GROUPS).toContain(page.group);
      expect(pageOf(page.path)?.page.id).toBe(page.id);
    }
  });
});

describe("calls", () => {
  it("build queries without empty values", () => {
    expect(withQuery("/usage?a=1", { range: "7d", q: "", x: null, limit: 5 })).toBe("/usage?a=1&range=7d&limit=5");
  });

  it("read file names and cursors", () => {
    expect(fileNameOf('attachment; filename="keys.csv"')).toBe("keys.csv");
    expect(fileNameOf("attachment; filename*=UTF-8''na%C3%AFve.csv")).toBe("naïve.csv");
    expect(fileNameOf(null)).toBeNull();
    expect(cursorOf("http://host/api/v1/keys?cursor=abc&limit=2")).toBe("abc");
    expect(cursorOf(null)).toBeNull();
  });

  it("tell errors field by field", () => {
    expect(fieldErrors({ errors: { name: ["Too long."], limits: { rpm: ["Below one."] } } })).toEqual({
      name: ["Too long."],
      "limits.rpm": ["Below one."],
    });
    expect(fieldErrors({ errors: { non_field_errors: ["No."] } })).toEqual({ "": ["No."] });
    expect(fieldErrors({ param: "slug", detail: "Taken." })).toEqual({ slug: ["Taken."] });
    expect(problemFrom(400, '{"errors":{"a":[{"b":["x"]}]}}', "r").fields).toEqual({ "a.0.b": ["x"] });
    expect(problemFrom(502, "<html>", null).fields).toEqual({});
  });

  it("read what the palette found, leaving out what is not known", () => {
    const found = readFinds({
      results: [
        { kind: "document", id: "d1", label: "Plan", knowledge_base_id: "k1", hint: "Handbook" },
        { kind: "tenant", id: "acme", name: "Acme" },
        { kind: "spaceship", id: "x", label: "X" },
        { kind: "model", id: "m", label: "m", href: "https://elsewhere.example" },
      ],
    });
    expect(found.map((one) => one.href)).toEqual(["/console/knowledge/k1/d1", "/console/?in=acme", "/console/models/m"]);
    expect(readFinds({})).toEqual([]);
  });
});

describe("figures", () => {
  it("show money exactly and never round it to nothing", () => {
    expect(moneyText(1_234_500_000_000, "en")).toBe("1,234.50");
    expect(moneyText(12_300_000, "en")).toBe("0.0123");
    expect(moneyText("5", "en")).toBe("< 0.000001");
    expect(moneyText("12.340000000", "en")).toBe("12.34");
    expect(moneyText(0, "de")).toBe("0,00");
  });

  it("say how long ago in the largest whole unit", () => {
    expect(agoParts(-90_000)).toEqual({ value: -1, unit: "minute" });
    expect(agoParts(2 * 86_400_000)).toEqual({ value: 2, unit: "day" });
    expect(agoParts(-2_000)).toEqual({ value: 0, unit: "second" });
    expect(agoParts(7 * 86_400_000 - 37_000)).toEqual({ value: 7, unit: "day" });
    expect(agoParts(-7 * 86_400_000 + 37_000)).toEqual({ value: -6, unit: "day" });
  });

  it("compare with what was before", () => {
    expect(change(150, 100)).toBeCloseTo(0.5);
    expect(change(1, 0)).toBeNull();
  });

  it("break a small line where nothing was measured", () => {
    const line = sparkline([1, 2, null, 4, 5], 100, 20)?.line ?? "";
    expect(line.match(/M/g)).toHaveLength(2);
    expect(sparkline([0, 0], 100, 20)).toBeNull();
    expect(sparkline([null, null], 100, 20)).toBeNull();
  });

  it("stack series and cut ranges", () => {
    expect(stacked([{ label: "a", values: [1, null] }, { label: "b", values: [2, 3] }])).toEqual([[1, 0], [3, 3]]);
    expect(within([10, 20, 30, 40], 15, 30)).toEqual([1, 3]);
    expect(hasFigures([{ label: "a", values: [0, null] }])).toBe(false);
    expect(rangeOf(new URLSearchParams("range=7d"))).toBe("7d");
    expect(rangeOf(new URLSearchParams("range=9y"))).toBe("24h");
  });
});

describe("tables", () => {
  it("turn the order of a column, then give the usual one back", () => {
    expect(nextSort("-created_at", "name", "-created_at")).toBe("name");
    expect(nextSort("name", "name", "-created_at")).toBe("-name");
    expect(nextSort("-name", "name", "-created_at")).toBeNull();
    expect(nextSort("-created_at", "created_at", "-created_at")).toBe("created_at");
    expect(nextSort("created_at", "created_at", "-created_at")).toBeNull();
  });

  it("ask for what their part of the address says", () => {
    const query = new URLSearchParams("docs.q=plan&docs.state=failed&q=other&docs.cursor=c");
    const address = listAddress("/documents", { scope: "platform" }, query, { prefix: "docs.", filters: ["state"] }, 25);
    expect(address).toBe("/documents?scope=platform&q=plan&state=failed&limit=25&cursor=c&total=true");
  });
});

describe("forms", () => {
  it("know what differs, whatever the order of keys", () => {
    expect(equal({ a: 1, b: [1, { c: null }] }, { b: [1, { c: null }], a: 1 })).toBe(true);
    expect(equal([1], { 0: 1 })).toBe(false);
    expect(changedFields({ a: 1, b: [1] }, { a: 2, b: [1] })).toEqual({ a: 2 });
  });

  it("put mine over theirs only where I changed something", () => {
    const began = { name: "A", role: "member", note: "" };
    const mine = { ...began, name: "B" };
    const theirs = { ...began, name: "C", note: "hello" };
    expect(merged(began, mine, theirs)).toEqual({ name: "B", role: "member", note: "hello" });
    expect(differences(began, mine, theirs)).toEqual([
      { field: "name", mine: "B", theirs: "C", touched: true },
      { field: "note", mine: "", theirs: "hello", touched: false },
    ]);
  });

  it("read numbers and moments of fields", () => {
    expect(numberOf(" 12.5 ")).toBe(12.5);
    expect(numberOf("")).toBeNull();
    expect(numberOf("twelve")).toBe("twelve");
    expect(momentOf("")).toBeNull();
    const moment = "2026-11-28T09:30:00.000Z";
    expect(momentOf(localMoment(moment))).toBe(moment);
  });
});

describe("live changes", () => {
  it("come whole however the stream is cut", () => {
    const reader = new EventReader();
    expect(reader.read("retry: 2000\n\nevent: ch")).toEqual([]);
    expect(reader.read('ange\ndata: {"kind":"job"}\n')).toEqual([]);
    expect(reader.read("\nevent: ping\ndata: {}\n\n")).toEqual([
      { name: "change", text: '{"kind":"job"}' },
      { name: "ping", text: "{}" },
    ]);
  });

  it("wait longer after each failure, half a minute at most", () => {
    expect(liveDelay(0, 1)).toBe(1000);
    expect(liveDelay(3, 0)).toBe(4000);
    expect(liveDelay(99, 1)).toBe(30_000);
  });
});

describe("what needs somebody", () => {
  const overview = {
    range: "24h",
    scope: "platform",
    health: { state: "degraded", checked_at: "", parts: [{ name: "worker", state: "degraded", ms: 3, detail: "late" }] },
    pools: [{ id: "p", name: "qwen", up: 0, down: 2, draining: 0, state: "down" }],
    failed_documents: {
      count: 1,
      items: [{ id: "d", title: "Plan.pdf", error: "broken", knowledge_base_id: "k 1", failed_at: "2026-01-01", tenant: "acme" }],
    },
    failed_jobs: {
      count: 2,
      items: [
        { id: "j1", kind: "knowledge.ingest", error: "broken", failed_at: "", tenant: "acme" },
        { id: "j2", kind: "backup.run", error: "no room", failed_at: "", tenant: null },
      ],
    },
    expiring_keys: { count: 1, items: [{ id: "a", name: "CI", prefix: "x", expires_at: "2026-02-01", tenant: null }] },
    suspended_tenants: null,
    waiting_domains: null,
    usage: null,
    acts: null,
  } as unknown as Overview;

  it("is told with the place where one acts, the worst first", () => {
    const needs = needsOf(overview, () => true);
    expect(needs.map((need) => need.kind)).toEqual(["part", "pool", "document", "job", "key"]);
    expect(needs[1]).toMatchObject({ tone: "danger", reason: "2/2" });
    expect(needs[2]?.href).toBe("/console/knowledge/k%201/d?in=acme");
    expect(needs[3]?.name).toBe("backup.run");
    expect(needs[4]).toMatchObject({ due: true, href: "/console/keys/a" });
  });

  it("names an operator who may read the tenant's content", () => {
    const grant = { id: "g", operator: "op@example.com", reason: "Ticket 4711", expires_at: "2026-02-01" };
    const needs = needsOf({ ...overview, open_grants: { count: 1, items: [grant] } }, () => true);
    expect(needs.find((need) => need.kind === "grant")).toMatchObject({ name: "op@example.com", reason: "Ticket 4711", href: "/console/break-glass" });
  });

  it("names domains that wait: to operators with the tenant's own page, to its owner with whom to ask", () => {
    const one = { id: "i", name: "Entra", domains: ["acme.test", "acme.org"], tenant: "acme" };
    const told = (row: typeof one | { tenant: null }, may: (permission: string) => boolean) =>
      needsOf({ ...overview, waiting_domains: { count: 1, items: [{ ...one, ...row }] } }, may).find((need) => need.kind === "domains");
    expect(told(one, () => true)).toMatchObject({ name: "acme.test, acme.org", code: "verify", tone: "warn", href: "/console/sign-in?in=acme" });
    expect(told({ tenant: null }, (right) => right !== "platform.operate")).toMatchObject({ code: "ask", tone: "plain", href: "/console/sign-in" });
  });

  it("leads a person without the right nowhere", () => {
    expect(needsOf(overview, () => false)[0]?.href).toBeNull();
  });

  it("proposes a model to an operator who has none", () => {
    const bare = { ...overview, pools: [{ ...overview.pools![0]!, name: "atrium-extractive", down: 0, up: 1 }] };
    expect(needsOf(bare, () => true).at(-1)?.kind).toBe("model");
    expect(needsOf(bare, (one) => one !== "platform.operate").some((need) => need.kind === "model")).toBe(false);
  });

  it("leads a tenant that has just begun on, as far as the person may", () => {
    const begun = { knowledge: true, assistant: false, people: false };
    const steps = (may: (permission: string) => boolean) => needsOf({ ...overview, pools: null }, may, begun).slice(-2).map((need) => need.kind);
    expect(steps(() => true)).toEqual(["assistant", "people"]);
    expect(steps((permission) => permission === "assistants.write").at(-1)).toBe("assistant");
    expect(needsOf(overview, () => true, { knowledge: true, assistant: true, people: true })).toHaveLength(5);
  });

  it("links an act to its thing where there is a page for it", () => {
    expect(actHref("assistant", "guide")).toBe("/console/assistants/guide");
    expect(actHref("weather", "x")).toBeNull();
  });
});
