"""Queries compiled to functions which write JSON text, and graphql-core for everything else.

A query that passed graphql-core's validation is compiled once: each selection becomes a template
and a tuple of functions, so that a page or a bulk result costs string formatting instead of a
resolver call per field. Mutations, directives and introspection run through graphql-core's own
executor with the same table of fields; a test holds both ways against each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from json.encoder import encode_basestring_ascii as quote
from operator import itemgetter
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLAbstractType,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    NamedTypeNode,
    SelectionSetNode,
    is_abstract_type,
)
from graphql.execution.values import get_argument_values

from sandbox.shopify.fields import ASKED, PLAIN, SAME, SHARED, TEXT
from sandbox.shopify.world import Run

MAX_SHARED = 200_000
FIXED_KINDS = {"Media": "MediaImage", "Event": "BasicEvent", "DiscountCode": "DiscountCodeBasic"}


@dataclass(frozen=True)
class Way:
    """A step from an object to a part of it, or to its text: `call(value)`.

    Where the step needs the request, `call(value, run)`.
    """

    call: Callable[..., Any]
    needs_run: bool = False

    def full(self) -> Callable[[Any, Run], Any]:
        """The same, always taking the request too."""
        call = self.call
        return call if self.needs_run else lambda value, _run: call(value)

    def then(self, other: Way) -> Way:
        """This step and, from where it leads, the other one."""
        first, second = self.call, other.call
        if not self.needs_run and not other.needs_run:
            return Way(lambda value: second(first(value)))
        if not self.needs_run:
            return Way(lambda value, run: second(first(value), run), needs_run=True)
        if not other.needs_run:
            return Way(lambda value, run: second(first(value, run)), needs_run=True)
        return Way(lambda value, run: second(first(value, run), run), needs_run=True)


def _after(reach: Way | None, way: Way) -> Way:
    return way if reach is None else reach.then(way)


class NotCompiledError(Exception):
    """The query uses something only graphql-core's executor does."""


def kind_of(value: Any, abstract: str) -> str:
    """The object type behind an interface or union."""
    fixed = FIXED_KINDS.get(abstract)
    if fixed is not None:
        return fixed
    found = value["__typename"] if isinstance(value, Mapping) else value.typename
    return str(found)


def resolve(kind: str, name: str, value: Any, run: Run, arguments: dict[str, Any]) -> Any:
    """One field of one object, as both executors see it."""
    reader = PLAIN.get((kind, name))
    if reader is not None:
        return reader(value)
    asked = ASKED.get((kind, name))
    if asked is not None:
        return asked(value, run, **arguments)
    return value if (kind, name) in SAME else value[name]


class Compiler:
    """Turns selections of one schema into functions from an object to JSON text."""

    def __init__(
        self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode]
    ) -> None:
        self.schema, self.fragments = schema, fragments

    def selection(
        self,
        kind: GraphQLObjectType,
        sets: list[SelectionSetNode],
        skip: frozenset[str] = frozenset(),
        *,
        is_open: bool = False,
    ) -> Way:
        """The way from an object of a type to its text; `skip` names response keys to leave out.

        `is_open`: without the closing brace, so that more can follow.
        """
        template, parts = self._parts(kind, sets, None, skip)
        return _filled(template[:-1] if is_open else template, parts)

    def _parts(
        self,
        kind: GraphQLObjectType,
        sets: list[SelectionSetNode],
        reach: Way | None,
        skip: frozenset[str] = frozenset(),
    ) -> tuple[str, list[Way]]:
        """A template and its parts; `reach` leads from the outer object to this one, if to any."""
        pieces: list[str] = []
        parts: list[Way] = []
        fields = [item for item in self.collect(kind, sets).items() if item[0] not in skip]
        for sharing, group in groupby(fields, lambda item: SHARED.get((kind.name, _name(item)))):
            texts, found = self._group(kind, list(group), reach if sharing is None else None)
            if sharing is not None:
                found = [_after(reach, _shared(_filled(",".join(texts), found), sharing))]
                texts = ["%s"]
            pieces += texts
            parts += found
        return "{" + ",".join(pieces) + "}", parts

    def _group(
        self,
        kind: GraphQLObjectType,
        fields: list[tuple[str, list[FieldNode]]],
        reach: Way | None,
    ) -> tuple[list[str], list[Way]]:
        texts: list[str] = []
        parts: list[Way] = []
        for key, nodes in fields:
            name = nodes[0].name.value
            if name == "__typename":
                texts.append(f'"{key}":"{kind.name}"')
                continue
            text, more = self._field(kind, kind.fields[name], name, nodes, reach)
            texts.append(f'"{key}":{text}')
            parts += more
        return texts, parts

    def _field(
        self,
        kind: GraphQLObjectType,
        field: GraphQLField,
        name: str,
        nodes: list[FieldNode],
        reach: Way | None,
    ) -> tuple[str, list[Way]]:
        sets = [node.selection_set for node in nodes if node.selection_set]
        text = TEXT.get((kind.name, name))
        if text is not None:
            return "%s", [_after(reach, Way(text))]
        step = reach
        if (kind.name, name) not in SAME:
            step = _after(reach, _read(kind.name, name, field, nodes[0]))
        type_ = field.type
        if isinstance(type_, GraphQLNonNull) and isinstance(type_.of_type, GraphQLObjectType):
            # Never null: its fields become fields of the outer template.
            return self._parts(type_.of_type, sets, step)
        return "%s", [_after(step, self._finish(type_, sets))]

    def _finish(self, type_: GraphQLOutputType, sets: list[SelectionSetNode]) -> Way:
        """From a field's value to its text."""
        if isinstance(type_, GraphQLNonNull):
            return self._present(type_.of_type, sets)
        present = self._present(type_, sets)
        write = present.call
        if present.needs_run:
            return Way(
                lambda value, run: "null" if value is None else write(value, run), needs_run=True
            )
        return Way(lambda value: "null" if value is None else write(value))

    def _present(self, type_: Any, sets: list[SelectionSetNode]) -> Way:
        if isinstance(type_, GraphQLList):
            item = self._finish(type_.of_type, sets)
            write = item.call
            if item.needs_run:
                return Way(
                    lambda value, run: "[" + ",".join([write(one, run) for one in value]) + "]",
                    needs_run=True,
                )
            return Way(lambda value: "[" + ",".join([write(one) for one in value]) + "]")
        if isinstance(type_, GraphQLObjectType):
            return self.selection(type_, sets)
        if is_abstract_type(type_):
            return self._abstract(type_, sets)
        return Way(_encoder(type_))

    def _abstract(self, type_: GraphQLAbstractType, sets: list[SelectionSetNode]) -> Way:
        known: dict[str, Callable[[Any, Run], str]] = {}

        def render(value: Any, run: Run) -> str:
            name = kind_of(value, type_.name)
            found = known.get(name)
            if found is None:
                concrete = self.schema.type_map[name]
                if not isinstance(concrete, GraphQLObjectType):
                    raise TypeError(name)
                found = known[name] = self.selection(concrete, sets).full()
            return found(value, run)

        return Way(render, needs_run=True)

    def collect(
        self, kind: GraphQLObjectType, sets: list[SelectionSetNode]
    ) -> dict[str, list[FieldNode]]:
        """The fields selected on an object type, fragments resolved, by response key."""
        found: dict[str, list[FieldNode]] = {}
        for one in sets:
            for node in one.selections:
                if node.directives:
                    raise NotCompiledError
                if isinstance(node, FieldNode):
                    key = node.alias.value if node.alias else node.name.value
                    found.setdefault(key, []).append(node)
                    continue
                condition: NamedTypeNode | None
                if isinstance(node, FragmentSpreadNode):
                    fragment = self.fragments[node.name.value]
                    condition, inner = fragment.type_condition, fragment.selection_set
                elif isinstance(node, InlineFragmentNode):
                    condition, inner = node.type_condition, node.selection_set
                else:
                    raise NotCompiledError
                if condition is None or self._is(kind, condition.name.value):
                    for key, nodes in self.collect(kind, [inner]).items():
                        found.setdefault(key, []).extend(nodes)
        return found

    def _is(self, kind: GraphQLObjectType, name: str) -> bool:
        other = self.schema.type_map[name]
        if isinstance(other, GraphQLInterfaceType | GraphQLUnionType):
            return self.schema.is_sub_type(other, kind)
        return other is kind


def _name(item: tuple[str, list[FieldNode]]) -> str:
    return item[1][0].name.value


def _filled(template: str, parts: list[Way]) -> Way:
    """A template with its parts put in."""
    if any(part.needs_run for part in parts):
        full = [part.full() for part in parts]
        return Way(
            lambda value, run: template % tuple([write(value, run) for write in full]),
            needs_run=True,
        )
    plain = [part.call for part in parts]
    return Way(lambda value: template % tuple([write(value) for write in plain]))


def _shared(way: Way, sharing: Callable[[Any], tuple[Run, Any]]) -> Way:
    """Text that is the same for all objects of one key, remembered for the request."""
    slot = id(way)
    write = way.full()

    def render(value: Any) -> str:
        run, key = sharing(value)
        texts = run.texts[slot]
        found: str | None = texts.get(key)
        if found is None:
            if len(texts) >= MAX_SHARED:
                texts.clear()
            found = texts[key] = write(value, run)
        return found

    return Way(render)


def _read(kind: str, name: str, field: GraphQLField, node: FieldNode) -> Way:
    """From an object to the value of one of its fields."""
    reader = PLAIN.get((kind, name))
    if reader is not None:
        return Way(reader)
    asked = ASKED.get((kind, name))
    if asked is None:
        return Way(itemgetter(name))
    if not field.args:
        return Way(asked, needs_run=True)
    slot = id(node)

    def step(value: Any, run: Run) -> Any:
        arguments = run.arguments.get(slot)
        if arguments is None:
            arguments = get_argument_values(field, node, run.variables)
            run.arguments[slot] = arguments
        return asked(value, run, **arguments)

    return Way(step, needs_run=True)


def _encoder(type_: GraphQLScalarType | GraphQLEnumType) -> Callable[[Any], str]:
    if type_.name == "Int":
        return str
    if type_.name == "Boolean":
        return lambda value: "true" if value else "false"
    if type_.name in ("JSON", "Float"):
        return json.dumps
    return quote
