/**
 * An answer's markdown as safe HTML. The text is untrusted: raw HTML is text, links are http(s) or
 * mailto and open elsewhere, images are never loaded (a remote image could carry the conversation
 * out in its address), and DOMPurify has the last word over an explicit list of tags.
 * Loaded lazily: the first paint does not wait for it.
 */

import DOMPurify from "dompurify";
import MarkdownIt, { type MarkdownIt as Parser, type Token } from "markdown-it";
import { markerAt } from "./citations";

export interface RenderLabels {
  copy: string;
  source: (index: number) => string;
  table: string;
}

export interface RenderSurroundings {
  labels: RenderLabels;
  /** Numbers that can be opened; null while the answer still streams and nobody knows. */
  known: ReadonlySet<number> | null;
}

/** markdown-it hands its caller's object through untyped; every call here passes this one. */
function surroundings(env: unknown): RenderSurroundings {
  return env as RenderSurroundings;
}

const ALLOWED_TAGS = [
  ..."a b blockquote br button code del div em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong".split(" "),
  ..."sub sup table tbody td th thead tr ul".split(" "),
];
const ALLOWED_ATTR = [
  ..."aria-label class data-cite data-code-copy data-testid href lang rel role start tabindex".split(" "),
  ..."target title type".split(" "),
];
const SAFE_ADDRESS = /^(?:https?:|mailto:)/i;

function markdownParser(): Parser {
  const parser = new MarkdownIt({ html: false, linkify: true, typographer: false });
  parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
  parser.validateLink = (address) => SAFE_ADDRESS.test(address.trim());
  // `[1]: handbook` is a citation at a line's start, not a link definition that swallows the line.
  parser.disable("reference");

  parser.inline.ruler.before("link", "citation", (state, silent) => {
    if (state.src.charCodeAt(state.pos) !== 0x5b) return false;
    const marker = markerAt(state.src, state.pos);
    if (marker === null || state.pos + marker.length > state.posMax) return false;
    if (!silent) {
      const token = state.push("citation", "", 0);
      token.meta = { indexes: marker.indexes };
      token.content = state.src.slice(state.pos, state.pos + marker.length);
    }
    state.pos += marker.length;
    return true;
  });

  const rules = parser.renderer.rules;
  const escape = parser.utils.escapeHtml;
  rules.citation = (tokens, index, _options, env) => {
    const token = tokens[index]!;
    return (token.meta?.indexes as number[]).map((number) => chip(number, surroundings(env), escape)).join("");
  };
  rules.image = (tokens, index) => {
    const token = tokens[index]!;
    const address = String(token.attrGet("src") ?? "");
    const name = escape(token.content || address);
    if (!SAFE_ADDRESS.test(address)) return name;
    return `<a href="${escape(address)}" target="_blank" rel="noopener noreferrer nofollow">${name}</a>`;
  };
  rules.link_open = (tokens, index, options, _env, self) => {
    const token = tokens[index]!;
    token.attrSet("target", "_blank");
    token.attrSet("rel", "noopener noreferrer nofollow");
    return self.renderToken(tokens, index, options);
  };
  rules.table_open = (_tokens, _index, _options, env) =>
    `<div class="table" role="region" tabindex="0" aria-label="${escape(surroundings(env).labels.table)}"><table>`;
  rules.table_close = () => "</table></div>";
  rules.th_open = alignedCell("th");
  rules.td_open = alignedCell("td");
  rules.fence = (tokens, index, _options, env) => {
    const token = tokens[index]!;
    return codeBlock(token.content, token.info.trim().split(/\s+/)[0] ?? "", surroundings(env), escape);
  };
  rules.code_block = (tokens, index, _options, env) =>
    codeBlock(tokens[index]!.content, "", surroundings(env), escape);
  return parser;
}

function chip(number: number, env: RenderSurroundings, escape: (text: string) => string): string {
  if (env.known === null) return `<span class="cite cite-pending">${number}</span>`;
  if (!env.known.has(number)) return `[${number}]`;
  const label = escape(env.labels.source(number));
  return (
    `<button type="button" class="cite" data-cite="${number}" data-testid="citation"` +
    ` aria-label="${label}" title="${label}">${number}</button>`
  );
}

/** Column alignment as a class: the style attribute markdown-it writes is refused by the CSP. */
function alignedCell(tag: "th" | "td") {
  return (tokens: Token[], index: number): string => {
    const style = String(tokens[index]!.attrGet("style") ?? "");
    const side = /text-align:\s*(left|center|right)/.exec(style)?.[1];
    return side ? `<${tag} class="align-${side}">` : `<${tag}>`;
  };
}

function codeBlock(
  code: string,
  language: string,
  env: RenderSurroundings,
  escape: (text: string) => string,
): string {
  const name = /^[\w+#.-]{1,24}$/.test(language) ? language : "";
  const title = `<span class="code-language">${escape(name)}</span>`;
  const copy = `<button type="button" class="code-copy" data-code-copy="">${escape(env.labels.copy)}</button>`;
  const body = `<pre tabindex="0"><code${name ? ` class="language-${escape(name)}"` : ""}>${escape(code)}</code></pre>`;
  return `<div class="code"><div class="code-bar">${title}${copy}</div>${body}</div>`;
}

const parser = markdownParser();

/** One HTML string per top-level block, so that a growing answer re-renders only its last block. */
export function renderBlocks(text: string, env: RenderSurroundings): string[] {
  const passed = { ...env };
  const tokens = parser.parse(text, passed);
  const blocks: string[] = [];
  let start = 0;
  let depth = 0;
  tokens.forEach((token: Token, position: number) => {
    depth += token.nesting;
    if (depth === 0) {
      blocks.push(parser.renderer.render(tokens.slice(start, position + 1), parser.options, passed));
      start = position + 1;
    }
  });
  return blocks;
}

/** The only door from HTML text to nodes. */
export function safeFragment(html: string): DocumentFragment {
  return DOMPurify.sanitize(html, {
    ALLOWED_TAGS,
    ALLOWED_ATTR,
    ALLOW_DATA_ATTR: false,
    ALLOWED_URI_REGEXP: SAFE_ADDRESS,
    // Their values are plain words, not addresses; without this DOMPurify judges them as such.
    ADD_URI_SAFE_ATTR: ALLOWED_ATTR.filter((name) => name !== "href"),
    RETURN_DOM_FRAGMENT: true,
  });
}
