/**
 * Writes `.br` and `.gz` beside every larger text file of the build: the server (WhiteNoise) sends
 * them as they are, and nobody compresses at request time.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const TEXT = /\.(?:js|css|svg)$/;
const WORTH_IT_BYTES = 1_000;

export function compressed(): Plugin {
  return {
    name: "atrium-compressed",
    apply: "build",
    writeBundle(options, bundle) {
      for (const name of Object.keys(bundle)) {
        const path = join(options.dir ?? "", name);
        if (!TEXT.test(name)) continue;
        const content = readFileSync(path);
        if (content.byteLength < WORTH_IT_BYTES) continue;
        writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }));
        writeFileSync(`${path}.br`, brotliCompressSync(content));
      }
    },
  };
}
