/** One file on its way to a knowledge base. XHR, because `fetch` cannot report upload progress. */

import { ApiClient } from "./client";
import { ApiProblem, problemFrom } from "./problem";
import type { KnowledgeDocument } from "./types";
import { uniqueId } from "./unique";

export interface UploadOptions {
  /** Share of the file that has left, 0 to 1. */
  progress: (share: number) => void;
  signal?: AbortSignal;
}

/** Resolves with the created document (state `queued`); rejects with an `ApiProblem`. */
export function uploadDocument(
  client: ApiClient,
  knowledgeBaseId: string,
  file: File,
  options: UploadOptions,
): Promise<KnowledgeDocument> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const path = `/knowledge-bases/${encodeURIComponent(knowledgeBaseId)}/documents`;
    request.open("POST", ApiClient.url(path));
    for (const [name, value] of Object.entries(client.writeHeaders())) request.setRequestHeader(name, value);
    request.setRequestHeader("Idempotency-Key", uniqueId());
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) options.progress(event.loaded / event.total);
    };
    request.onerror = () => reject(new ApiProblem(0, "network", "network"));
    request.onabort = () => reject(new ApiProblem(0, "aborted", "aborted"));
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) {
        resolve(JSON.parse(request.responseText) as KnowledgeDocument);
      } else {
        reject(problemFrom(request.status, request.responseText, request.getResponseHeader("x-request-id")));
      }
    };
    options.signal?.addEventListener("abort", () => request.abort(), { once: true });
    const form = new FormData();
    form.append("file", file, file.name);
    request.send(form);
  });
}
