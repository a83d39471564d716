/** The console's entry: language first (so that no English flashes), then the page. */

import "../styles/base.css";
import "../styles/console.css";
import { mount } from "svelte";
import { i18n } from "./i18n/index.svelte";
import App from "./shell/App.svelte";

const place = document.getElementById("app");
if (place !== null) {
  const begin = () => {
    place.replaceChildren();
    mount(App, { target: place });
  };
  // A language file that cannot be loaded must not keep the page from opening.
  i18n.start().then(begin, () => i18n.use("en").then(begin));
}
