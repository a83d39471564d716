/** Between the form of a source and what is sent: each kind has its own fields, and is told nothing of the others. */

import type { Source, SourceBody, SourceDocument } from "../api/sources";
import type { Tone } from "../kit/tone";

/** As typed: an empty number is null. */
export type SourceValues = Omit<SourceDocument, "port" | "max_concurrency"> & {
  port: number | null;
  max_concurrency: number | null;
  api_key: string;
  /** The stored key is to be removed. */
  forget: boolean;
};

export const SOURCE_TONES: Record<Source["state"], Tone> = {
  static: "plain",
  waiting: "plain",
  found: "good",
  failing: "warn",
  stale: "danger",
};

export function valuesOf(source: Source): SourceValues {
  const { document } = source;
  return {
    ...document,
    port: document.port || null,
    max_concurrency: document.max_concurrency || null,
    api_key: "",
    forget: false,
  };
}

export function bodyOf(values: SourceValues): SourceBody {
  if (values.kind === "static") return { kind: "static" };
  const { kind, model, vllm, scheme, record } = values;
  const port = values.port ?? 0;
  const where =
    kind === "dns"
      ? { name: values.name.trim(), record, port: record === "srv" ? 0 : port }
      : {
          service: values.service.trim(),
          namespace: values.namespace.trim(),
          selector: values.selector.trim(),
          port,
          port_name: values.port_name.trim(),
        };
  const key = values.forget ? { api_key: "" } : values.api_key ? { api_key: values.api_key } : {};
  return {
    kind,
    model,
    vllm,
    scheme,
    served_name: values.served_name.trim(),
    max_concurrency: values.max_concurrency ?? 0,
    ...where,
    ...key,
  };
}

/** Where is looked, as one writes it: a name with its port, or a Service with its namespace. */
export function placeOf({ kind, name, record, port, port_name, service, namespace, selector }: SourceDocument): string {
  if (kind === "dns") return record === "srv" ? `SRV ${name}` : `${name}:${port}`;
  const place = [namespace, service].filter(Boolean).join("/");
  return [place, selector && `(${selector})`, port ? `:${port}` : port_name && `:${port_name}`].filter(Boolean).join(" ");
}
