/**
 * The one way to `/api/v1`: adds the tenant, the CSRF token and an idempotency key, parses JSON,
 * and turns every failure into an `ApiProblem`. What it needs from the browser is passed in, so
 * that it can be tested without one.
 */

import { ApiProblem, problemFrom } from "./problem";
import { uniqueId } from "./unique";

export interface ClientSurroundings {
  fetch: typeof fetch;
  csrfToken: () => string;
  tenant: () => string | null;
  /** Called when the session has ended; the client still throws. */
  signedOut: () => void;
}

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** The version seen: the server refuses with 412 when the thing was changed meanwhile. */
  ifMatch?: string | undefined;
  /** Of a POST that may be sent again; else each call has its own. */
  idempotencyKey?: string | undefined;
  /** Beside or instead of the client's own. */
  headers?: Record<string, string> | undefined;
  /** Let the request outlive the page (used when a page closes with a pending deletion). */
  keepalive?: boolean;
}

const ROOT = "/api/v1";

/** A cursor link may be absolute; only its path and query are followed, never another host. */
export function localPath(link: string): string {
  const url = new URL(link, "http://atrium.invalid");
  return url.pathname + url.search;
}

export class ApiClient {
  constructor(private readonly surroundings: ClientSurroundings) {}

  get<T>(path: string, options: CallOptions = {}): Promise<T> {
    return this.call<T>("GET", path, undefined, options);
  }

  post<T>(path: string, body?: unknown, options: CallOptions = {}): Promise<T> {
    return this.call<T>("POST", path, body, options);
  }

  patch<T>(path: string, body: unknown, options: CallOptions = {}): Promise<T> {
    return this.call<T>("PATCH", path, body, options);
  }

  put<T>(path: string, body: unknown, options: CallOptions = {}): Promise<T> {
    return this.call<T>("PUT", path, body, options);
  }

  delete(path: string, options: CallOptions = {}): Promise<void> {
    return this.call<void>("DELETE", path, undefined, options);
  }

  /** An answer as it is, for files and streams. Throws `ApiProblem` as the others do. */
  async open(path: string, options: CallOptions = {}): Promise<Response> {
    const response = await this.send("GET", path, undefined, options);
    if (!response.ok) throw await this.problemOf(response);
    return response;
  }

  /** Headers that authorise a write; also used by uploads, which need XHR for their progress. */
  writeHeaders(): Record<string, string> {
    const headers: Record<string, string> = { Accept: "application/json" };
    const tenant = this.surroundings.tenant();
    if (tenant) headers["X-Atrium-Tenant"] = tenant;
    headers["X-CSRFToken"] = this.surroundings.csrfToken();
    return headers;
  }

  static url(path: string): string {
    return path.startsWith("/api/") || path.startsWith("http") ? localPath(path) : ROOT + path;
  }

  private async call<T>(method: Method, path: string, body: unknown, options: CallOptions): Promise<T> {
    return this.read<T>(await this.send(method, path, body, options));
  }

  private headersFor(method: Method, body: unknown, options: CallOptions): Record<string, string> {
    const headers = this.writeHeaders();
    if (method === "GET") delete headers["X-CSRFToken"];
    if (method === "POST") headers["Idempotency-Key"] = options.idempotencyKey ?? uniqueId();
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (options.ifMatch !== undefined) headers["If-Match"] = `"${options.ifMatch}"`;
    return { ...headers, ...options.headers };
  }

  private async send(method: Method, path: string, body: unknown, options: CallOptions): Promise<Response> {
    try {
      return await this.surroundings.fetch(ApiClient.url(path), {
        method,
        headers: this.headersFor(method, body, options),
        credentials: "same-origin",
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(options.signal ? { signal: options.signal } : {}),
        ...(options.keepalive ? { keepalive: true } : {}),
      });
    } catch (cause) {
      if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
      throw new ApiProblem(0, "network", "network");
    }
  }

  private async problemOf(response: Response): Promise<ApiProblem> {
    if (response.status === 401) this.surroundings.signedOut();
    const text = await response.text().catch(() => "");
    return problemFrom(response.status, text, response.headers.get("x-request-id"));
  }

  private async read<T>(response: Response): Promise<T> {
    if (!response.ok) throw await this.problemOf(response);
    if (response.status === 204 || response.headers.get("content-length") === "0") return undefined as T;
    const text = await response.text();
    if (!text) return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new ApiProblem(response.status, "unreadable answer", "unreadable");
    }
  }
}
