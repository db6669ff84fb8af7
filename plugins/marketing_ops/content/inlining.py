"""CSS moved into `style` attributes, as mail programs need it, around the template's own tags."""

from __future__ import annotations

import logging
import re

from premailer import Premailer

# One piece of Jinja: a value, a statement or a comment.
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_TAG = re.compile(r"<[a-zA-Z/][^<>]*>")
_MARK = "jinjapiece{}x"


def inline_styles(html: str) -> str:
    """`html` with the rules of its style sheets inlined; `@media` rules stay in the head.

    Jinja pieces are taken out before and put back unchanged, since an HTML parser would quote or
    move them: inside tags they become a word, outside a comment (for statements) or a word.
    """
    pieces: list[str] = []

    def take(match: re.Match[str]) -> str:
        pieces.append(match.group())
        return _MARK.format(len(pieces) - 1)

    marked = _JINJA.sub(take, html)
    words = {_MARK.format(number) for number, piece in enumerate(pieces) if piece.startswith("{{")}
    inside = {word for tag in _TAG.findall(marked) for word in re.findall(r"jinjapiece\d+x", tag)}

    def as_comment(match: re.Match[str]) -> str:
        word = match.group()
        return word if word in words | inside else f"<!--{word}-->"

    marked = re.sub(r"jinjapiece\d+x", as_comment, marked)
    inlined = str(
        Premailer(
            marked,
            disable_link_rewrites=True,
            disable_validation=True,
            keep_style_tags=False,
            strip_important=False,
            remove_classes=False,
            cssutils_logging_level=logging.CRITICAL,
        ).transform()
    )
    if not inlined.lstrip().lower().startswith("<!doctype"):
        inlined = f"<!doctype html>\n{inlined}"  # the HTML parser drops it
    inlined = re.sub(r"<!--(jinjapiece\d+x)-->", r"\1", inlined)
    return re.sub(r"jinjapiece(\d+)x", lambda match: pieces[int(match.group(1))], inlined)
