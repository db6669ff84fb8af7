"""A generated function per stream that takes a record of just the declared shape apart.

Whatever does not fit in any way, a missing or unknown field, a value of a wrong type, makes it
return None: then `rows.fields_of` does it with care. Both make the same text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from marketing_ops.sources.base import Stream
from marketing_ops.sync.rows import NULL, Tree, flat, plain_instant

Extractor = Callable[[dict[str, Any]], tuple[str, ...] | None]


def generate(stream: Stream) -> Extractor:
    """Write and compile `fast`: nested dicts are entered once, their sizes tell of unknown keys.

    What it accepts, `fields_of` turns into the same text (a test holds them against each other).
    """
    writer = _Writer(stream)
    scope: dict[str, Any] = {"NULL": NULL, "instant": plain_instant, "dumps": orjson.dumps}
    scope |= {"tails": Tails(), "numbers": Numbers()}
    scope.update(flat=flat, **{f"items{i}": c.items for i, c in enumerate(stream.columns)})
    exec(compile(writer.source(), f"<rows of {stream.name}>", "exec"), scope)  # noqa: S102 - the text is made of our own declarations only
    extractor: Extractor = scope["fast"]
    return extractor


_REMEMBERED = 20_000


class Tails(dict[str, str]):
    """Global id -> what follows its last slash; remembered, since products and orders recur."""

    def __missing__(self, text: str) -> str:
        tail = text.rpartition("/")[2]
        if not tail:
            raise KeyError(text)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = tail
        return tail


class Numbers(dict[str, str]):
    """Texts known to be plain decimal numbers; remembered, since prices recur."""

    def __missing__(self, text: str) -> str:
        if not (text.isascii() and len(text) < 100 and text.replace(".", "", 1).isdigit()):
            raise KeyError(text)
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = text
        return text


class _Writer:
    """Writes the text of `fast` for one stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.lines = ["def fast(o):", " try:"]
        self.names = 0

    def source(self) -> str:
        tree: Tree = {}
        for number, column in enumerate(self.stream.columns):
            _grow(tree, column.path.split("."), number)
        self._level("o", tree, " " * 2)
        fields = ",".join(f"f{number}" for number in range(len(self.stream.columns)))
        self.lines += [
            f"  return ({fields},NULL)",
            " except (KeyError, TypeError, AttributeError):",
        ]
        self.lines += ["  return None"]
        return "\n".join(self.lines)

    def _level(self, variable: str, tree: Tree, indent: str) -> None:
        add = self.lines.append
        add(f"{indent}if len({variable}) != {len(tree)}: return None")
        for key, below in tree.items():
            value = f"v{self.names}"
            self.names += 1
            add(f"{indent}{value} = {variable}[{key!r}]")
            if isinstance(below, int):
                self._leaf(below, value, indent)
                continue
            leaves = list(_leaves(below))
            nulls = " = ".join(f"f{number}" for number in leaves)
            add(f"{indent}if {value} is None: {nulls} = NULL")
            add(f"{indent}else:")
            if "nodes" in below:
                self._connection(value, below["nodes"], indent + " ")
            else:
                self._level(value, below, indent + " ")

    def _connection(self, value: str, below: Any, indent: str) -> None:
        """A list of nested nodes: the whole of it, or fields of its first one."""
        nodes, add = f"{value}n", self.lines.append
        add(f"{indent}{nodes} = {value}['nodes']")
        add(f"{indent}if type({nodes}) is not list: return None")
        if isinstance(below, int):
            self._leaf(below, nodes, indent)
            return
        leaves = " = ".join(f"f{number}" for number in _leaves(below))
        add(f"{indent}if not {nodes}: {leaves} = NULL")
        add(f"{indent}else:")
        for key, number in below["0"].items():
            add(f"{indent} {nodes}_{number} = {nodes}[0].get({key!r})")
            self._leaf(number, f"{nodes}_{number}", indent + " ")

    def _leaf(self, number: int, value: str, indent: str) -> None:
        column = self.stream.columns[number]
        target, add = f"f{number}", self.lines.append
        if column.type == "jsonb":
            made = f"[flat(items{number}, i) for i in {value}]" if column.items else value
            add(f"{indent}if {value} is None: {target} = NULL")
            add(f"{indent}elif type({value}) is list:")
            add(f"{indent} {target} = dumps({made}).decode()")
            add(f"{indent} if '\\\\u0000' in {target}: return None")
        elif column.type == "bigint":
            add(f"{indent}if type({value}) is int and -10**18 < {value} < 10**18:")
            add(f"{indent} {target} = str({value})")
            add(f"{indent}elif {value} is None or {value} == '': {target} = NULL")
            add(f"{indent}elif {value}.isascii() and {value}.isdigit() and len({value}) < 19:")
            add(f"{indent} {target} = {value}")
        elif column.type == "boolean":
            add(f"{indent}if {value} is True or {value} == 'true': {target} = 't'")
            add(f"{indent}elif {value} is False or {value} == 'false': {target} = 'f'")
            add(f"{indent}elif {value} is None or {value} == '': {target} = NULL")
        elif column.type == "numeric":
            add(
                f"{indent}{target} = NULL if {value} is None or {value} == '' else numbers[{value}]"
            )
            return
        elif column.is_gid and number:
            add(f"{indent}{target} = NULL if {value} is None else tails[{value}]")
            return
        else:
            empty = f" or {value} == ''" if column.type == "timestamptz" else ""
            add(f"{indent}if {value} is None{empty}: {target} = NULL")
            add(f"{indent}elif type({value}) is not str: return None")
            if column.is_gid:
                add(f"{indent}elif {value}[-1:] not in ('', '/'):")
                add(f"{indent} {target} = {value}[{value}.rfind('/') + 1:]")
            elif column.type == "timestamptz":
                add(f"{indent}else:")
                add(f"{indent} {target} = instant({value})")
                add(f"{indent} if {target} is None: return None")
                return
            else:
                add(f"{indent}else: {target} = {value}")
                return
        add(f"{indent}else: return None")


def _grow(tree: Tree, parts: list[str], number: int) -> None:
    for part in parts[:-1]:
        tree = tree.setdefault(part, {})
    tree[parts[-1]] = number


def _leaves(tree: Tree) -> list[int]:
    found: list[int] = []
    for below in tree.values():
        found += [below] if isinstance(below, int) else _leaves(below)
    return found
