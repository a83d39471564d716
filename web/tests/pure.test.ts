import { describe, expect, it } from "vitest";
import type { Citation, KnowledgeDocument, StoredMessage } from "../src/api/types";
import { ageOf, byAge, titleMatches } from "../src/app/days";
import { formatRoute, parseRoute } from "../src/app/routes";
import { byDocument, byIndex, markerAt, webAddress, withSources } from "../src/chat/citations";
import { inReadingOrder, newestFirst } from "../src/chat/history";
import { chooseTarget, formatTarget, noteworthyModel, parseTarget, targetName, usableModels } from "../src/chat/target";
import { preferredLanguage } from "../src/i18n/index.svelte";
import { reasonText } from "../src/i18n/problems";
import { formatBytes, isPending, mergeDocuments, pollMilliseconds } from "../src/knowledge/pending";
import { freeSlug, slugFrom } from "../src/knowledge/slug";
import { placeMenu } from "../src/ui/place";

const citation = (index: number, document = "d1"): Citation => ({
  index,
  document_id: document,
  title: `Title ${document}`,
  chunk_id: `k${index}`,
  text: "",
  score: 1,
});

describe("addresses", () => {
  it.each(["/", "/c/0198", "/k/", "/k/0198", "/c/a%20b"])("goes both ways: %s", (path) => {
    expect(formatRoute(parseRoute(path))).toBe(path);
  });

  it("opens a new chat for what it does not know", () => {
    expect(parseRoute("/elsewhere/x")).toEqual({ page: "chat", conversation: null });
    expect(parseRoute("/c/")).toEqual({ page: "chat", conversation: null });
  });
});

describe("citations", () => {
  it("reads markers and nothing that merely looks alike", () => {
    expect(markerAt("[12] x", 0)).toEqual({ indexes: [12], length: 4 });
    expect(markerAt("a [1, 2;3]", 2)).toEqual({ indexes: [1, 2, 3], length: 8 });
    for (const text of ["[a]", "[]", "[1234]", "[1](x)", "[1", "[1,]"]) expect(markerAt(text, 0)).toBeNull();
  });

  it("lists sources by number and by document", () => {
    const given = [citation(3, "d2"), citation(1), citation(2), citation(1)];
    expect(byIndex(given).map((one) => one.index)).toEqual([1, 2, 3]);
    expect(byDocument(given).map((group) => group.citations.length)).toEqual([2, 1]);
    expect(withSources("Yes [1].\n", [citation(1)])).toBe("Yes [1].\n\n[1] Title d1\n");
    expect(withSources("Yes", [])).toBe("Yes");
  });

  it("links only to the web", () => {
    expect(webAddress("https://a.example")).toBe("https://a.example");
    for (const url of ["javascript:x", "file:///etc", "", null, undefined]) expect(webAddress(url)).toBeNull();
  });
});

describe("message history", () => {
  const stored = (id: string, created: string, role: StoredMessage["role"] = "user") =>
    ({ id, role, created_at: created, content: "", state: "completed", citations: [], model: null, error: null }) as StoredMessage;

  it("comes into reading order from either direction, without system messages", () => {
    const rows = [
      stored("b", "2026-01-01T00:00:00Z", "assistant"),
      stored("c", "2026-01-01T00:00:01Z"),
      stored("a", "2026-01-01T00:00:00Z"),
      stored("s", "2026-01-01T00:00:00Z", "system"),
    ];
    expect(inReadingOrder(rows).map((row) => row.id)).toEqual(["a", "b", "c"]);
  });

  it("knows which way the pages go", () => {
    const older = stored("a", "2026-01-01T00:00:00Z");
    const newer = stored("b", "2026-01-02T00:00:00Z");
    const page = (...results: StoredMessage[]) => ({ results, next: null, previous: null });
    expect(newestFirst(page(newer, older))).toBe(true);
    expect(newestFirst(page(older, newer))).toBe(false);
    expect(newestFirst(page())).toBe(true);
  });
});

describe("who answers", () => {
  const assistants = [{ slug: "hr", name: "HR desk", model: "auto", knowledge_base_ids: [] }];
  const models = [{ id: "small", kind: "chat" }];

  it("keeps the wish while it exists, else takes the first there is", () => {
    expect(chooseTarget({ kind: "model", id: "small" }, assistants, models)).toEqual({ kind: "model", id: "small" });
    expect(chooseTarget({ kind: "model", id: "gone" }, assistants, models)).toEqual({ kind: "assistant", slug: "hr" });
    expect(chooseTarget(null, [], models)).toEqual({ kind: "model", id: "small" });
    expect(chooseTarget(null, [], [])).toBeNull();
  });

  it("offers models that can answer, and the server's choice when there are several", () => {
    const given = [
      { id: "a", kind: "chat", replica_count: 2 },
      { id: "b", kind: "chat", replica_count: 1 },
      { id: "idle", kind: "chat", replica_count: 0 },
      { id: "e", kind: "embedding", replica_count: 1 },
    ];
    expect(usableModels(given).map((model) => model.id)).toEqual(["auto", "a", "b"]);
    expect(usableModels(given.slice(0, 1)).map((model) => model.id)).toEqual(["a"]);
  });

  it("says what must be known while only built-in engines answer", () => {
    const quoting = { id: "quoting", kind: "chat", built_in: true };
    expect(noteworthyModel({ kind: "assistant", slug: "hr" }, assistants, [quoting])).toBe(quoting);
    expect(noteworthyModel({ kind: "assistant", slug: "hr" }, assistants, [quoting, ...models])).toBeNull();
    expect(noteworthyModel({ kind: "model", id: "quoting" }, assistants, [quoting, ...models])).toBe(quoting);
    expect(noteworthyModel({ kind: "model", id: "auto" }, assistants, [])).toBeNull();
    expect(noteworthyModel(null, [], [])).toBeNull();
  });

  it("is written as in the API", () => {
    for (const text of ["assistant/hr", "small", "org/model"]) expect(formatTarget(parseTarget(text))).toBe(text);
    expect(targetName({ kind: "assistant", slug: "hr" }, assistants)).toBe("HR desk");
    expect(targetName(null, assistants)).toBe("");
  });
});

describe("documents on their way", () => {
  const row = (id: string, state: KnowledgeDocument["state"]): KnowledgeDocument => ({
    id,
    title: id,
    state,
    error: null,
    chunk_count: null,
  });

  it("asks again only while something is pending, ever more slowly", () => {
    expect(pollMilliseconds(0, 0)).toBeNull();
    expect(pollMilliseconds(1, 0)).toBe(1000);
    expect(pollMilliseconds(1, 99)).toBe(8000);
    expect(["queued", "processing", "ready", "failed"].map((state) => isPending(state as never))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it("renews rows in place and puts new ones first", () => {
    const merged = mergeDocuments([row("a", "queued"), row("b", "ready")], [row("c", "queued"), row("a", "ready")]);
    expect(merged.map((one) => [one.id, one.state])).toEqual([
      ["c", "queued"],
      ["a", "ready"],
      ["b", "ready"],
    ]);
  });

  it("says sizes and reasons in words", () => {
    expect(formatBytes(999, "en")).toBe("999 B");
    expect(formatBytes(1500, "de")).toBe("1,5 kB");
    expect(formatBytes(null, "en")).toBe("");
    expect(reasonText({ code: "encrypted", message: "It is encrypted." }, "x")).toBe("It is encrypted.");
    expect(reasonText(null, "x")).toBe("x");
    expect(reasonText("", "x")).toBe("x");
  });
});

describe("names", () => {
  it("makes addresses of titles", () => {
    expect(slugFrom("Über uns & Maß!")).toBe("ueber-uns-mass");
    expect(slugFrom("Élan  vital")).toBe("elan-vital");
    expect(slugFrom("日本")).toBe("");
    expect(freeSlug("", new Set())).toBe("assistant");
    expect(freeSlug("hr", new Set(["hr", "hr-2"]))).toBe("hr-3");
  });
});

describe("the sidebar", () => {
  const now = new Date(2026, 10, 24, 12);
  const at = (day: number, hour = 9) => new Date(2026, 10, day, hour).toISOString();

  it("groups chats by age", () => {
    expect([at(24, 0), at(23), at(18), at(2), "nonsense"].map((iso) => ageOf(iso, now))).toEqual([
      "today",
      "yesterday",
      "week",
      "older",
      "older",
    ]);
    const groups = byAge([{ updated_at: at(24) }, { updated_at: at(2) }], now);
    expect(groups.map((group) => group.age)).toEqual(["today", "older"]);
  });

  it("finds titles by words, without minding case or accents", () => {
    expect(titleMatches("Hotel in Zürich", "zurich HOT")).toBe(true);
    expect(titleMatches("Hotel in Zürich", "bern")).toBe(false);
  });
});

describe("menus and languages", () => {
  it("opens above when there is no room below, and never over the edge", () => {
    const view = { width: 360, height: 700 };
    const anchor = { left: 300, right: 340, top: 650, bottom: 690 };
    expect(placeMenu(anchor, { width: 200, height: 300 }, view, "start")).toEqual({ left: 152, top: 344 });
    expect(placeMenu({ ...anchor, top: 10, bottom: 40 }, { width: 200, height: 300 }, view, "end")).toEqual({
      left: 140,
      top: 46,
    });
  });

  it("takes the stored language, then the browser's first known one", () => {
    expect(preferredLanguage("de", ["en"])).toBe("de");
    expect(preferredLanguage(null, ["fr-FR", "de-AT", "en"])).toBe("de");
    expect(preferredLanguage("xx", ["fr"])).toBe("en");
  });
});
