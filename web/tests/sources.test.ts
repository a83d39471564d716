import { describe, expect, it } from "vitest";
import type { Source } from "../src/console/api/sources";
import { bodyOf, placeOf, valuesOf } from "../src/console/engines/sources";

const source: Source = {
  document: {
    kind: "dns",
    model: "org/tiny",
    served_name: "",
    max_concurrency: 0,
    vllm: true,
    scheme: "http",
    port: 8000,
    name: "vllm.test",
    record: "address",
    service: "",
    namespace: "",
    selector: "",
    port_name: "",
  },
  has_api_key: true,
  state: "found",
  discovered_at: null,
  found: 0,
  problem: "",
  updated_at: null,
  version: "1",
};

describe("a source in the form and on the wire", () => {
  const values = { ...valuesOf(source), service: "vllm", namespace: "ai", port_name: "http" };

  it("shows what is nothing as empty, and sends it as nothing", () => {
    expect(values.max_concurrency).toBeNull();
    expect(bodyOf({ ...values, port: null })).toMatchObject({ port: 0, max_concurrency: 0 });
  });

  it("says only what belongs to its kind", () => {
    expect(bodyOf(values)).not.toHaveProperty("service");
    expect(bodyOf({ ...values, record: "srv" })).toMatchObject({ port: 0, record: "srv" });
    const kubernetes = bodyOf({ ...values, kind: "kubernetes", name: "left.over" });
    expect(kubernetes).toMatchObject({ service: "vllm", namespace: "ai", port_name: "http" });
    expect(kubernetes).not.toHaveProperty("name");
    expect(kubernetes).not.toHaveProperty("record");
    expect(bodyOf({ ...values, kind: "static" })).toEqual({ kind: "static" });
  });

  it("leaves the key, sets another, or removes it", () => {
    expect(bodyOf(values)).not.toHaveProperty("api_key");
    expect(bodyOf({ ...values, api_key: "sk" })).toMatchObject({ api_key: "sk" });
    expect(bodyOf({ ...values, api_key: "sk", forget: true })).toMatchObject({ api_key: "" });
  });

  it("is named by where is looked", () => {
    expect(placeOf(source.document)).toBe("vllm.test:8000");
    expect(placeOf({ ...source.document, record: "srv" })).toBe("SRV vllm.test");
    const kubernetes = { ...source.document, kind: "kubernetes" as const, service: "vllm", port: 0 };
    expect(placeOf(kubernetes)).toBe("vllm");
    expect(placeOf({ ...kubernetes, namespace: "ai", selector: "app=vllm", port_name: "http" })).toBe(
      "ai/vllm (app=vllm) :http",
    );
    expect(placeOf({ ...kubernetes, namespace: "ai", port: 8000 })).toBe("ai/vllm :8000");
  });
});
