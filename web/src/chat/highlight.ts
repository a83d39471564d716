/** Colours for code blocks, loaded when the first block of a language is complete. */

import type { HLJSApi, LanguageFn } from "highlight.js";
import { safeFragment } from "./markdown";

type Loader = () => Promise<{ default: LanguageFn }>;

const LANGUAGES: Record<string, Loader> = {
  bash: () => import("highlight.js/lib/languages/bash"),
  cpp: () => import("highlight.js/lib/languages/cpp"),
  csharp: () => import("highlight.js/lib/languages/csharp"),
  css: () => import("highlight.js/lib/languages/css"),
  diff: () => import("highlight.js/lib/languages/diff"),
  go: () => import("highlight.js/lib/languages/go"),
  ini: () => import("highlight.js/lib/languages/ini"),
  java: () => import("highlight.js/lib/languages/java"),
  javascript: () => import("highlight.js/lib/languages/javascript"),
  json: () => import("highlight.js/lib/languages/json"),
  python: () => import("highlight.js/lib/languages/python"),
  rust: () => import("highlight.js/lib/languages/rust"),
  sql: () => import("highlight.js/lib/languages/sql"),
  typescript: () => import("highlight.js/lib/languages/typescript"),
  xml: () => import("highlight.js/lib/languages/xml"),
  yaml: () => import("highlight.js/lib/languages/yaml"),
};

const ALIASES: Record<string, string> = {
  c: "cpp",
  "c#": "csharp",
  "c++": "cpp",
  console: "bash",
  cs: "csharp",
  html: "xml",
  js: "javascript",
  jsx: "javascript",
  py: "python",
  rs: "rust",
  sh: "bash",
  shell: "bash",
  svg: "xml",
  toml: "ini",
  ts: "typescript",
  tsx: "typescript",
  yml: "yaml",
  zsh: "bash",
};

/** The language to load for a fence's name, or null when there are no colours for it. */
export function knownLanguage(name: string): string | null {
  const lower = name.toLowerCase();
  const resolved = ALIASES[lower] ?? lower;
  return Object.hasOwn(LANGUAGES, resolved) ? resolved : null;
}

const LONGEST_COLOURED = 40_000;
let core: Promise<HLJSApi> | null = null;

async function highlighter(language: string): Promise<HLJSApi> {
  core ??= import("highlight.js/lib/core").then((module) => module.default);
  const api = await core;
  if (!api.getLanguage(language)) {
    const loaded = await LANGUAGES[language]!();
    api.registerLanguage(language, loaded.default);
  }
  return api;
}

/** Colours every known code block below `root`; leaves it as it is when loading fails. */
export async function highlightWithin(root: ParentNode): Promise<void> {
  for (const node of root.querySelectorAll<HTMLElement>("pre > code[class^='language-']")) {
    const language = knownLanguage(node.className.slice("language-".length));
    const source = node.textContent ?? "";
    if (language === null || source.length > LONGEST_COLOURED || node.dataset.coloured) continue;
    try {
      const api = await highlighter(language);
      if (!node.isConnected) continue;
      node.dataset.coloured = "yes";
      node.replaceChildren(safeFragment(api.highlight(source, { language }).value));
    } catch {
      return;
    }
  }
}
