/** The addresses of the chat, both ways. Pure, so that links and history agree by test. */

export type Route =
  | { page: "chat"; conversation: string | null }
  | { page: "knowledge" }
  | { page: "knowledge-base"; base: string };

export function parseRoute(path: string): Route {
  const [first, second] = path.split("/").filter(Boolean).map(decodeURIComponent);
  if (first === "k") return second ? { page: "knowledge-base", base: second } : { page: "knowledge" };
  if (first === "c" && second) return { page: "chat", conversation: second };
  return { page: "chat", conversation: null };
}

export function formatRoute(route: Route): string {
  switch (route.page) {
    case "knowledge":
      return "/k/";
    case "knowledge-base":
      return `/k/${encodeURIComponent(route.base)}`;
    case "chat":
      return route.conversation === null ? "/" : `/c/${encodeURIComponent(route.conversation)}`;
  }
}
