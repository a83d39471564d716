/** The console's entry: language first (so that no English flashes), then the page. */

import "../styles/base.css";
import "../styles/console.css";
import { mount } from "svelte";
import { i18n } from "./i18n/index.svelte";
import { parsePlace } from "./routes";
import App from "./shell/App.svelte";
import { pageOf } from "./shell/find";

const place = document.getElementById("app");
if (place !== null) {
  // The address says which page it will be before anybody knows who asks: it comes while that is found out. When it does
  // not come, PageView asks again and says so.
  const page = pageOf(parsePlace(location.pathname + location.search).path)?.page;
  page?.load().catch(() => undefined);
  const begin = () => {
    for (const area of page ? [page.area, ...(page.also ?? [])] : []) i18n.need(area).catch(() => undefined);
    place.replaceChildren();
    mount(App, { target: place });
  };
  // A language file that cannot be loaded must not keep the page from opening.
  i18n.start().then(begin, () => i18n.use("en").then(begin));
}
