/** The console's way to `/api/v1`: as the chat's, in the tenant of the scope. */

import { csrfToken, goToLogin } from "../../api/browser";
import { ApiClient, type CallOptions } from "../../api/client";
import { problemFrom } from "../../api/problem";
import { uniqueId } from "../../api/unique";
import { scope } from "../scope.svelte";
import { fileNameOf, withQuery } from "./paths";

export { ApiProblem } from "../../api/problem";
export type { Page } from "../../api/types";

export interface UploadOptions {
  /** Told the share that was sent, 0–1. */
  progress?: (share: number) => void;
  signal?: AbortSignal;
  method?: "POST" | "PUT";
}

/** Begins a download: a big file must not pass through the page's memory. */
export function saveFrom(address: string, name: string): void {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}

function saveBlob(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  saveFrom(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Hands the person a text as a file. */
export function saveText(text: string, name: string): void {
  saveBlob(new Blob([text], { type: "application/json" }), name);
}

class ConsoleClient extends ApiClient {
  /** Saves an answer as a file: a plain link could not name the tenant. */
  async download(path: string, fallbackName: string, options: CallOptions = {}): Promise<void> {
    const response = await this.open(path, options);
    const name = fileNameOf(response.headers.get("content-disposition")) ?? fallbackName;
    saveBlob(await response.blob(), name);
  }

  /** Sends a form or a file, telling its progress, which `fetch` cannot. */
  upload<T>(path: string, body: XMLHttpRequestBodyInit, options: UploadOptions = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open(options.method ?? "POST", ApiClient.url(path));
      for (const [name, value] of Object.entries(this.writeHeaders())) request.setRequestHeader(name, value);
      request.setRequestHeader("Idempotency-Key", uniqueId());
      request.upload.onprogress = (event) => {
        if (event.lengthComputable) options.progress?.(event.loaded / event.total);
      };
      request.onload = () => {
        if (request.status === 401) goToLogin();
        if (request.status >= 200 && request.status < 300) {
          resolve((request.responseText ? JSON.parse(request.responseText) : undefined) as T);
        } else {
          reject(problemFrom(request.status, request.responseText, request.getResponseHeader("x-request-id")));
        }
      };
      request.onerror = () => reject(problemFrom(0, "", null));
      request.onabort = () => reject(new DOMException("aborted", "AbortError"));
      options.signal?.addEventListener("abort", () => request.abort());
      request.send(body);
    });
  }
}

export const api = new ConsoleClient({
  fetch: (input, init) => fetch(input, init),
  csrfToken,
  tenant: () => scope.tenant,
  signedOut: goToLogin,
});

/** A path with its query; in the platform scope it asks for all tenants together. */
export function inScope(path: string, query: Record<string, string | number | null | undefined> = {}): string {
  return withQuery(path, scope.platform ? { ...query, scope: "platform" } : query);
}
