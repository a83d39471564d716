/**
 * Where the console is, kept in the address bar: path and query. Links are plain anchors, followed
 * here; a form with unsaved changes is asked first, also on the browser's own "back".
 */

import { guards } from "./guards.svelte";
import { formatPlace, parsePlace, scopeOf, withValues, type Place, type Scope } from "./routes";

interface Step {
  step: number;
}

class Router {
  private place = $state.raw<Place>(parsePlace(location.pathname + location.search));
  /** The scope that addresses need not name: the person's own tenant. */
  home = $state.raw<Scope | null>(null);
  private step = (history.state as Step | null)?.step ?? 0;
  private returning = false;

  constructor() {
    addEventListener("popstate", (event) => this.popped(event));
    document.addEventListener("click", (event) => this.clicked(event));
  }

  get path(): string {
    return this.place.path;
  }

  get query(): URLSearchParams {
    return this.place.query;
  }

  /** What the console shows: the scope the address names, else the person's own tenant. */
  get scope(): Scope | null {
    return scopeOf(this.place.query) ?? this.home;
  }

  /** A console address with the scope in it, for `href` attributes; one that names a scope keeps it. */
  href(address: string): string {
    const place = parsePlace(address);
    const named = scopeOf(place.query);
    // A scope named stays named: left out, the link would be read in the scope of the page it stands on.
    return named === null ? formatPlace(place, this.scope, this.home) : formatPlace(place, named, null);
  }

  go(address: string, options: { replace?: boolean } = {}): void {
    guards.ask(() => this.move(this.href(address), options.replace ?? false));
  }

  /** Changes query values of this page and keeps the others. */
  set(values: Record<string, string | number | null | undefined>, options: { replace?: boolean } = {}): void {
    const place = { path: this.place.path, query: withValues(this.place.query, values) };
    this.move(formatPlace(place, this.scope, this.home), options.replace ?? false);
  }

  /** The same page in another scope; filters and cursors belong to the old one. */
  enter(scope: Scope, path = this.place.path): void {
    const place = { path, query: new URLSearchParams() };
    guards.ask(() => this.move(formatPlace(place, scope, this.home), false));
  }

  /** The same address without a scope: the one it named cannot be entered. */
  dropScope(): void {
    const query = withValues(this.place.query, { cursor: null });
    this.move(formatPlace({ path: this.place.path, query }, null, null), true);
  }

  private move(address: string, replace: boolean): void {
    const same = address === location.pathname + location.search;
    if (replace || same) history.replaceState({ step: this.step } satisfies Step, "", address);
    else {
      this.step += 1;
      history.pushState({ step: this.step } satisfies Step, "", address);
    }
    this.place = parsePlace(address);
  }

  private popped(event: PopStateEvent): void {
    const step = (event.state as Step | null)?.step ?? 0;
    if (this.returning) {
      this.returning = false;
      return;
    }
    const distance = step - this.step;
    const leave = () => {
      this.step = step;
      this.place = parsePlace(location.pathname + location.search);
    };
    if (!guards.holding || distance === 0) return leave();
    // The browser has moved already: go back to where the form is, then ask.
    this.returning = true;
    history.go(-distance);
    guards.ask(() => {
      this.step = step;
      this.returning = true;
      history.go(distance);
      addEventListener("popstate", () => (this.place = parsePlace(location.pathname + location.search)), { once: true });
    });
  }

  private clicked(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const anchor = event.target instanceof Element ? event.target.closest("a") : null;
    if (anchor === null || anchor.target || anchor.hasAttribute("download")) return;
    const url = new URL(anchor.href, location.href);
    if (url.origin !== location.origin || !/^\/console(\/|$)/.test(url.pathname)) return;
    if (url.hash && url.pathname === location.pathname) return;
    event.preventDefault();
    guards.ask(() => this.move(this.href(url.pathname + url.search), false));
  }
}

export const router = new Router();

export const href = (address: string): string => router.href(address);
