import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";
import { compressed } from "./compress";
import { licences } from "./licences";

/**
 * The bundle goes where Django finds static files. Hashed names come from Vite and must reach the
 * browser unchanged (a second renaming would load shared chunks twice); `account.css`, used by
 * pages that Django renders itself, keeps a plain name.
 */
export default defineConfig({
  plugins: [svelte(), compressed(), licences()],
  base: "/static/web/",
  build: {
    outDir: "../platform/config/static/web",
    emptyOutDir: true,
    manifest: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rolldownOptions: {
      input: { main: "src/main.ts", console: "src/console/main.ts", account: "src/account.css" },
      output: {
        assetFileNames: (asset) =>
          asset.names.includes("account.css") ? "account.css" : "assets/[name]-[hash][extname]",
      },
    },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "jsdom" },
});
