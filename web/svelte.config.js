import { vitePreprocess } from "@sveltejs/vite-plugin-svelte";

/** Runes everywhere: one way of writing state. */
export default {
  preprocess: vitePreprocess(),
  compilerOptions: { runes: true },
};
