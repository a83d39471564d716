/**
 * What went wrong with a request, in one shape: the server's RFC 9457 problem, or a network failure
 * (status 0). Nothing else is thrown by the API client.
 */

export interface ProblemBody {
  title?: string;
  detail?: string;
  code?: string;
  param?: unknown;
  errors?: unknown;
}

/** Messages by field; a nested field is named with dots, `""` is the whole. */
export type FieldErrors = Record<string, string[]>;

export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code: string,
    readonly requestId: string | null = null,
    readonly fields: FieldErrors = {},
  ) {
    super(message);
    this.name = "ApiProblem";
  }

  /** True when the same request may succeed a moment later. */
  get retryable(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

const WHOLE = new Set(["non_field_errors", "detail", "__all__"]);

function collect(errors: unknown, at: string, found: FieldErrors): void {
  if (typeof errors === "string") (found[at] ??= []).push(errors);
  else if (Array.isArray(errors)) {
    errors.forEach((one: unknown, index) => {
      const inside = one !== null && typeof one === "object";
      collect(one, inside ? (at ? `${at}.${index}` : String(index)) : at, found);
    });
  } else if (errors !== null && typeof errors === "object") {
    for (const [name, value] of Object.entries(errors as Record<string, unknown>)) {
      const own = WHOLE.has(name) ? at : at ? `${at}.${name}` : name;
      collect(value, own, found);
    }
  }
}

/** What is wrong, field by field: from `errors`, or from `param` when the problem names one field. */
export function fieldErrors(body: ProblemBody): FieldErrors {
  const found: FieldErrors = {};
  if (body.errors !== undefined) collect(body.errors, "", found);
  else if (typeof body.param === "string" && body.param) found[body.param] = [body.detail ?? body.title ?? ""];
  return found;
}

/** The field errors of a 400, as one readable line: `name: required. slug: taken.` */
function fieldLines(errors: unknown): string {
  if (typeof errors === "string") return errors;
  if (Array.isArray(errors)) return errors.map(fieldLines).filter(Boolean).join(" ");
  if (errors !== null && typeof errors === "object") {
    const record = errors as Record<string, unknown>;
    if (typeof record.detail === "string") {
      const field = record.field ?? record.attr ?? record.name;
      return typeof field === "string" && field ? `${field}: ${record.detail}` : record.detail;
    }
    if (typeof record.message === "string") return record.message;
    return Object.entries(record)
      .map(([field, value]) => `${field}: ${fieldLines(value)}`)
      .join(" ");
  }
  return "";
}

/** Reads a problem body leniently: a proxy in between may answer HTML or nothing. */
export function problemFrom(status: number, body: string, requestId: string | null): ApiProblem {
  let parsed: ProblemBody = {};
  try {
    const value: unknown = JSON.parse(body);
    if (value !== null && typeof value === "object") parsed = value as ProblemBody;
  } catch {
    // Not JSON: the status alone has to speak.
  }
  const fields = fieldLines(parsed.errors);
  // What is wrong with which field says more than "not valid" in front of it.
  const text = fields || parsed.detail || parsed.title || `HTTP ${status}`;
  return new ApiProblem(status, text, parsed.code ?? `http_${status}`, requestId, fieldErrors(parsed));
}
