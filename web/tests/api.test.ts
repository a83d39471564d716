import { describe, expect, it } from "vitest";
import { ApiClient, localPath } from "../src/api/client";
import { ApiProblem, problemFrom } from "../src/api/problem";

interface Call {
  url: string;
  init: RequestInit;
}

function client(answer: () => Response | Promise<Response>) {
  const calls: Call[] = [];
  let signedOut = 0;
  const api = new ApiClient({
    fetch: (url, init) => {
      calls.push({ url: String(url), init: init ?? {} });
      return Promise.resolve().then(answer);
    },
    csrfToken: () => "token",
    tenant: () => "demo",
    signedOut: () => void (signedOut += 1),
  });
  return { api, calls, signedOut: () => signedOut };
}

const headersOf = (call: Call | undefined) => call?.init.headers as Record<string, string>;

describe("the API client", () => {
  it("names the tenant, and proves a write with the CSRF token and an idempotency key", async () => {
    const { api, calls } = client(() => Response.json({ id: "1" }));
    await api.get("/me");
    await api.post("/knowledge-bases", { name: "A" });
    await api.post("/knowledge-bases", { name: "A" });
    expect(calls[0]!.url).toBe("/api/v1/me");
    expect(headersOf(calls[0])).toEqual({ Accept: "application/json", "X-Atrium-Tenant": "demo" });
    expect(headersOf(calls[1])).toMatchObject({ "X-CSRFToken": "token", "Content-Type": "application/json" });
    expect(headersOf(calls[1])["Idempotency-Key"]).not.toBe(headersOf(calls[2])["Idempotency-Key"]);
    expect(calls[1]!.init.body).toBe('{"name":"A"}');
  });

  it("follows a cursor on this host only", async () => {
    const { api, calls } = client(() => Response.json({}));
    await api.get("https://elsewhere.example/api/v1/conversations?cursor=abc");
    expect(calls[0]!.url).toBe("/api/v1/conversations?cursor=abc");
    expect(localPath("/api/v1/x?y=1")).toBe("/api/v1/x?y=1");
  });

  it("turns a problem body into a readable failure", async () => {
    const body = { title: "Invalid", detail: "Bad request.", code: "invalid", errors: { name: ["This is required."] } };
    const { api } = client(() => Response.json(body, { status: 400, headers: { "x-request-id": "r1" } }));
    const problem = await api.post("/x", {}).catch((cause: unknown) => cause);
    expect(problem).toBeInstanceOf(ApiProblem);
    expect(problem).toMatchObject({ status: 400, code: "invalid", requestId: "r1", retryable: false });
    expect((problem as ApiProblem).message).toBe("name: This is required.");
  });

  it("survives answers that are no JSON at all", async () => {
    const { api } = client(() => new Response("<html>bad gateway</html>", { status: 502 }));
    await expect(api.get("/x")).rejects.toMatchObject({ status: 502, retryable: true });
    const strange = client(() => new Response("<html>", { status: 200 }));
    await expect(strange.api.get("/x")).rejects.toMatchObject({ code: "unreadable" });
  });

  it("reports the end of the session once per refused call, and a lost network as status 0", async () => {
    const { api, signedOut } = client(() => new Response("{}", { status: 401 }));
    await expect(api.get("/me")).rejects.toMatchObject({ status: 401 });
    expect(signedOut()).toBe(1);
    const lost = client(() => Promise.reject(new TypeError("failed")));
    await expect(lost.api.get("/me")).rejects.toMatchObject({ status: 0, retryable: true });
  });

  it("answers nothing for an empty body", async () => {
    const { api } = client(() => new Response(null, { status: 204 }));
    await expect(api.delete("/x")).resolves.toBeUndefined();
  });

  it("reads field errors of several shapes", () => {
    const of = (errors: unknown) => problemFrom(400, JSON.stringify({ errors }), null).message;
    expect(of([{ field: "slug", message: "taken" }])).toBe("taken");
    expect(of([{ attr: "slug", detail: "taken" }])).toBe("slug: taken");
    expect(of({ a: { b: ["no"] } })).toBe("a: b: no");
    expect(problemFrom(418, "", null).message).toBe("HTTP 418");
  });
});
