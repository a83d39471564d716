/** A form: its values, what the server said about them, and what happens when somebody else was quicker. */

import { ApiProblem, type FieldErrors } from "../../api/problem";
import { guards } from "../guards.svelte";
import { changedFields, equal, merged } from "./changes";

export interface SaveContext<V> {
  /** For `If-Match`; undefined when creating. */
  ifMatch: string | undefined;
  /** Only what differs from what was given. */
  changed: Partial<V>;
}

export interface FormOptions<V extends object, R> {
  values: V;
  version?: string | undefined;
  save: (values: V, context: SaveContext<V>) => Promise<R>;
  /** The thing as it is now, asked when it was changed meanwhile. */
  fresh?: () => Promise<{ values: V; version: string }>;
  /** Names of fields for the conflict dialog. */
  labels?: Partial<Record<keyof V & string, string>> | undefined;
  done?: (saved: R) => void;
  /** Leaving with changes asks first; off for small forms in a dialog. */
  guard?: boolean | undefined;
}

export interface Conflict<V> {
  theirs: V;
  version: string;
}

export class FormState<V extends object, R = unknown> {
  values = $state() as V;
  errors = $state.raw<FieldErrors>({});
  problem = $state.raw<ApiProblem | null>(null);
  busy = $state(false);
  conflict = $state.raw<Conflict<V> | null>(null);
  gone = $state(false);
  /** What was given, or saved last. */
  private began = $state.raw() as V;
  private version = $state.raw<string | undefined>(undefined);
  private left = false;

  constructor(private readonly options: FormOptions<V, R>) {
    this.began = copy(options.values);
    this.values = copy(options.values);
    this.version = options.version;
  }

  get dirty(): boolean {
    return !equal(this.began, $state.snapshot(this.values));
  }

  get creating(): boolean {
    return this.version === undefined;
  }

  label(field: string): string {
    return this.options.labels?.[field as keyof V & string] ?? field;
  }

  /** What the conflict dialog compares with. */
  get original(): V {
    return this.began;
  }

  /** Asks before the page is left with changes; returns how to stop. Called by `Form`. */
  watch(): () => void {
    if (this.options.guard === false) return () => undefined;
    return guards.add(() => this.dirty && !this.left);
  }

  errorsOf(field: string): string[] {
    return Object.entries(this.errors)
      .filter(([name]) => name === field || name.startsWith(`${field}.`))
      .flatMap(([, messages]) => messages);
  }

  /** A field was touched: what was said about it may no longer hold. */
  touched(field: string): void {
    if (this.errorsOf(field).length === 0) return;
    this.errors = Object.fromEntries(
      Object.entries(this.errors).filter(([name]) => name !== field && !name.startsWith(`${field}.`)),
    );
    // What was wrong is being mended: a note of it would be of yesterday.
    if (Object.keys(this.errors).length === 0) this.problem = null;
  }

  /** What the fields themselves found wrong, before the server is asked. */
  mark(errors: FieldErrors): void {
    this.errors = errors;
    this.problem = null;
  }

  /** Errors of the whole, and of fields that the form does not have. */
  get rest(): string[] {
    const own = new Set(Object.keys(this.values));
    return Object.entries(this.errors)
      .filter(([name]) => !own.has(name.split(".")[0] ?? ""))
      .flatMap(([name, messages]) => messages.map((message) => (name ? `${name}: ${message}` : message)));
  }

  /** Takes fresh values in silence, but for fields changed here. */
  accept(values: V, version?: string): void {
    const mine = $state.snapshot(this.values) as V;
    this.values = merged(this.began, mine, values);
    this.began = copy(values);
    this.version = version ?? this.version;
  }

  /** Back to what was given. */
  reset(): void {
    this.values = copy(this.began);
    this.errors = {};
    this.problem = null;
  }

  async submit(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    this.problem = null;
    this.errors = {};
    const values = $state.snapshot(this.values) as V;
    try {
      const saved = await this.options.save(values, {
        ifMatch: this.version,
        changed: changedFields(this.began, values),
      });
      this.began = copy(values);
      // What follows may leave the page: nothing is lost by that.
      this.left = true;
      this.options.done?.(saved);
      setTimeout(() => (this.left = false));
    } catch (cause) {
      if (!(cause instanceof ApiProblem)) throw cause;
      if (cause.status === 412 && this.options.fresh) await this.compare(this.options.fresh);
      else this.refused(cause);
    } finally {
      this.busy = false;
    }
  }

  /** The conflict is answered: mine over theirs, theirs, or neither yet. */
  async resolve(choice: "overwrite" | "theirs" | "later"): Promise<void> {
    const { conflict } = this;
    if (conflict === null) return;
    if (choice !== "later") {
      const mine = $state.snapshot(this.values) as V;
      this.values = choice === "theirs" ? copy(conflict.theirs) : merged(this.began, mine, conflict.theirs);
      this.began = copy(conflict.theirs);
      this.version = conflict.version;
    }
    this.conflict = null;
    if (choice === "overwrite") await this.submit();
  }

  private refused(problem: ApiProblem): void {
    this.errors = problem.fields;
    this.problem = problem;
  }

  private async compare(fresh: NonNullable<FormOptions<V, R>["fresh"]>): Promise<void> {
    try {
      const now = await fresh();
      this.conflict = { theirs: now.values, version: now.version };
    } catch (cause) {
      if (!(cause instanceof ApiProblem)) throw cause;
      if (cause.status === 404) this.gone = true;
      else this.problem = cause;
    }
  }
}

function copy<T>(value: T): T {
  return structuredClone($state.snapshot(value)) as T;
}
