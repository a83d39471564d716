/** Where the page is, kept in the address bar; back and forward work. */

import { formatRoute, parseRoute, type Route } from "./routes";

class Router {
  current = $state.raw<Route>(parseRoute(location.pathname));

  constructor() {
    addEventListener("popstate", () => {
      this.current = parseRoute(location.pathname);
    });
  }

  go(route: Route): void {
    const path = formatRoute(route);
    if (path !== location.pathname) history.pushState(null, "", path);
    this.current = route;
  }

  /** A new chat has got its id: the address changes, the history does not grow. */
  replace(route: Route): void {
    history.replaceState(null, "", formatRoute(route));
    this.current = route;
  }

  /** For links: a plain click stays in the page, a click with a modifier is the browser's. */
  follow(event: MouseEvent, route: Route): boolean {
    if (event.defaultPrevented || event.button !== 0) return false;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return false;
    event.preventDefault();
    this.go(route);
    return true;
  }
}

export const router = new Router();
