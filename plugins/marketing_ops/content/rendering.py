"""Sandboxed Jinja: what a template may do, and a template plus variables as a message.

A template may print, choose and loop over what it is given. It may not call, import, include,
define macros or nest loops deeper than two, so that its cost is bounded by its own size and data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from marketing_ops.errors import FatalError

MAX_OUTPUT = 400_000
"""Characters of one rendered part; a mail above 102 KB is cut off by large mailbox providers."""

MAX_LOOP_DEPTH = 2
MAX_TEXT = 100_000
"""Characters an expression may build by adding or multiplying."""

FILTERS = frozenset(
    {
        "abs",
        "capitalize",
        "count",
        "d",
        "date",
        "default",
        "e",
        "escape",
        "first",
        "float",
        "int",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "money",
        "round",
        "sort",
        "string",
        "title",
        "trim",
        "truncate",
        "upper",
        "urlencode",
        "wordcount",
    }
)

_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Call: "calls something: a template only prints, chooses and loops",
    nodes.Macro: "defines a macro: write the text out",
    nodes.CallBlock: "uses a call block: write the text out",
    nodes.Include: "includes another file: a template stands alone",
    nodes.Extends: "extends another file: a template stands alone",
    nodes.Import: "imports another file: a template stands alone",
    nodes.FromImport: "imports another file: a template stands alone",
    nodes.FilterBlock: "uses a filter block: apply the filter to a value",
    nodes.AssignBlock: "uses a set block: give `set` one value",
}


class ContentError(FatalError):
    """A template cannot be rendered. The message names the template and the part, never a value.

    Attributes:
        is_template_wide: the template itself is wrong, whoever it is for.
    """

    def __init__(self, message: str, *, is_template_wide: bool = False) -> None:
        super().__init__(message)
        self.is_template_wide = is_template_wide


@dataclass(frozen=True)
class Rendered:
    """One message for one person; `html` is a whole document, `text` its plain twin."""

    subject: str
    html: str
    text: str


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers; text may only be added, within MAX_TEXT."""
        are_numbers = all(isinstance(side, (int, float, Decimal)) for side in (left, right))
        if operator == "+":
            if not are_numbers and len(str(left)) + len(str(right)) > MAX_TEXT:
                raise TemplateError("it builds too long a text")
        elif not are_numbers or (operator == "**" and abs(right) > 64):
            raise TemplateError(f"`{operator}` is only for small numbers here")
        return super().call_binop(context, operator, left, right)


def _environment(*, is_html: bool) -> _Sandbox:
    environment = _Sandbox(
        autoescape=is_html,
        undefined=StrictUndefined,
        finalize=lambda value: "" if value is None else value,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=0,
    )
    environment.globals.clear()
    environment.filters["money"] = _money
    environment.filters["date"] = _date
    for name in set(environment.filters) - FILTERS:
        del environment.filters[name]
    return environment


def _money(value: Any, currency: str = "") -> str:
    """1234.5 as `1,234.50`, with `$`, `€` or `£` before it or another code behind it."""
    text = f"{Decimal(str(value)):,.2f}"
    sign = {"USD": "$", "EUR": "€", "GBP": "£"}.get(currency)
    if sign:
        return f"{sign}{text}"
    return f"{text} {currency}".strip()


def _date(value: Any) -> str:
    """An instant, a date or its ISO text as `2 March 2026`."""
    moment = value if isinstance(value, date) else datetime.fromisoformat(str(value))
    return f"{moment.day} {moment:%B %Y}"


_HTML = _environment(is_html=True)
_TEXT = _environment(is_html=False)


def parse(source: str) -> nodes.Template:
    """The syntax tree of a template. Raises jinja2.TemplateSyntaxError with a line number."""
    return _HTML.parse(source)


def refusals(tree: nodes.Node) -> Iterator[tuple[int, str]]:
    """(line, why) for each thing in the tree that a template may not do."""
    for kind, why in _REFUSED.items():
        for node in tree.find_all(kind):
            yield node.lineno, why
    for assignment in tree.find_all(nodes.Assign):
        if next(assignment.find_all(nodes.Concat), None) is not None:
            yield assignment.lineno, "builds a text in `set`: print its pieces instead"
    yield from _deep_loops(tree, 0)


def _deep_loops(node: nodes.Node, depth: int) -> Iterator[tuple[int, str]]:
    for child in node.iter_child_nodes():
        is_loop = isinstance(child, nodes.For)
        if is_loop and depth == MAX_LOOP_DEPTH:
            yield child.lineno, f"nests loops deeper than {MAX_LOOP_DEPTH}"
        elif isinstance(child, nodes.For) and child.recursive:
            yield child.lineno, "loops recursively: write the levels out"
        else:
            yield from _deep_loops(child, depth + is_loop)


@lru_cache(maxsize=1024)
def _compiled(source: str, *, is_html: bool) -> Template:
    environment = _HTML if is_html else _TEXT
    for line, why in refusals(environment.parse(source)):
        raise TemplateSyntaxError(f"it {why}", line)
    return environment.from_string(source)


def render(template: Mapping[str, Any], variables: Mapping[str, Any]) -> Rendered:
    """The message that `template` makes of `variables`.

    Args:
        template: `subject`, `html` and `text` as `load_template` returned them (or as frozen in a
            campaign version); `name` is used in messages only.
        variables: contact, brand, campaign, entry, unsubscribe_url, coupon (may be None).

    Raises:
        ContentError: a part is missing, has wrong syntax, uses an undefined variable or grows too
            long.
    """
    subject = _render(template, "subject", variables)
    return Rendered(
        subject=re.sub(r"\s+", " ", subject).strip(),
        html=_render(template, "html", variables),
        text=_render(template, "text", variables),
    )


def _render(template: Mapping[str, Any], part: str, variables: Mapping[str, Any]) -> str:
    label = f"template `{template.get('name', '?')}`, {part}"
    source = template.get(part)
    if not isinstance(source, str):
        raise ContentError(
            f"{label}: is missing; write the file and start the campaign again",
            is_template_wide=True,
        )
    pieces: list[str] = []
    length = 0
    try:
        for piece in _compiled(source, is_html=part == "html").generate(variables):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_OUTPUT:
                raise ContentError(f"{label}: grows beyond {MAX_OUTPUT} characters")
    except TemplateSyntaxError as error:
        raise ContentError(f"{label}: {error.message}", is_template_wide=True) from error
    except TemplateError as error:
        raise ContentError(f"{label}: {error.message}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # The message of these would quote a person's data; the class is enough to find the place.
        raise ContentError(f"{label}: {type(error).__name__} in an expression") from error
    return "".join(pieces)
