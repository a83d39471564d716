/**
 * Writes `licences.json` beside the bundle: every npm package whose code is in it, and every one the
 * front end depends on by name. The system page shows it.
 */

import { readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

interface Described {
  name: string;
  version: string;
  license?: string;
  dependencies?: Record<string, string>;
}

const PACKAGE = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//;

function described(folder: string): Described {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Described;
}

export function licences(): Plugin {
  return {
    name: "atrium-licences",
    apply: "build",
    generateBundle() {
      const here = import.meta.dirname;
      const named = Object.keys(described(here).dependencies ?? {});
      // By their true place: where node_modules is a link, the bundler tells that, and a package must be there once.
      const folders = new Set(named.map((name) => realpathSync(join(here, "node_modules", name))));
      for (const id of this.getModuleIds()) {
        const folder = PACKAGE.exec(id.replaceAll("\0", ""))?.[1];
        if (folder) folders.add(folder);
      }
      const found = [...folders]
        .map(described)
        .map(({ name, version, license }) => ({ name, version, licence: license ?? "" }))
        .sort((a, b) => a.name.localeCompare(b.name));
      this.emitFile({ type: "asset", fileName: "licences.json", source: JSON.stringify(found, null, 1) });
    },
  };
}
