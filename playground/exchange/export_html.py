"""A conversation as one HTML file that needs nothing else and can do nothing: no script, no request.

Text of a model or a stranger reaches the file only through markdown-it with HTML turned off, or escaped.
Should anything slip through, the file's own policy forbids all but the one style sheet, named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, MutableMapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from inference.types import Channel, Role
from playground.exchange.export_markdown import day, ending_of, made_by
from playground.exchange.transcript import Transcript, Turn
from storage.records import MessageRecord

STYLE = (Path(__file__).parent / "export.css").read_text("utf-8")
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'"
LINKS = ("http://", "https://", "mailto:")
LOWER_BY = 2
"""The page has its own headings of the first two levels."""


class _Renderer(RendererHTML):
    """What markdown-it would let load or lead astray, made harmless."""

    def image(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        """A remote picture would tell its host that the file was read: a link in its place."""
        token = tokens[idx]
        return (
            f'<a href="{escape(str(token.attrGet("src") or ""))}" rel="noopener noreferrer nofollow">'
            f"Image: {escape(token.content or 'image')}</a>"
        )


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False}, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"])
    parser.validateLink = lambda url: url.strip().lower().startswith(LINKS)  # type: ignore[method-assign]
    return parser


_PARSER = _parser()


def html(transcript: Transcript) -> str:
    """The whole file."""
    conversation = transcript.conversation
    title = escape(conversation.title)
    instructions = conversation.settings.instructions
    body = [f"<header><h1>{title}</h1><p>{day(conversation.created_at)}</p></header>"]
    if instructions:
        body.append(_folded("Instructions", f"<pre>{escape(instructions)}</pre>"))
    for turn in transcript.turns:
        body += _turn(turn)
    content = "\n".join(body)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{content}
</main>
</body>
</html>
"""


def _turn(turn: Turn) -> Iterator[str]:
    if turn.question is not None:
        yield f'<section class="question"><h2>Question</h2><p>{escape(turn.question.content)}</p></section>'
    if turn.generation is None and not turn.messages:
        return
    made = "" if turn.generation is None else f'<p class="made">{escape(made_by(turn.generation))}</p>'
    ending = ending_of(turn.generation)
    end = f'<p class="made">{ending}</p>' if ending else ""
    messages = "\n".join(map(_message, turn.messages))
    yield f'<section class="reply"><h2>Reply</h2>{made}\n{messages}{end}</section>'


def _message(message: MessageRecord) -> str:
    if message.role is Role.TOOL:
        return _folded(f"Result of {message.name}", f"<pre>{escape(message.content)}</pre>")
    if message.recipient is not None:
        return _folded(f"Call of {message.recipient}", f"<pre>{escape(message.content)}</pre>")
    if message.channel is Channel.ANALYSIS:
        return _folded("Reasoning", _markdown(message.content))
    return f'<div class="text">{_markdown(message.content)}</div>'


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def _markdown(text: str) -> str:
    env: dict[str, Any] = {}
    tokens = _PARSER.parse(text, env)
    for token in tokens:
        _tame(token)
    return str(_PARSER.renderer.render(tokens, _PARSER.options, env))


def _tame(token: Token) -> None:
    """Headings below the page's own, no style attributes, links that say nothing of the reader."""
    if token.type in {"heading_open", "heading_close"}:
        token.tag = f"h{min(6, int(token.tag[1]) + LOWER_BY)}"
    if token.type in {"th_open", "td_open"} and "style" in token.attrs:
        token.attrSet("class", str(token.attrs.pop("style")).removeprefix("text-align:"))
    if token.type == "link_open":
        token.attrSet("rel", "noopener noreferrer nofollow")
    for child in token.children or ():
        _tame(child)
