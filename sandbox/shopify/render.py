"""Queries compiled to functions which write JSON text, and graphql-core for everything else.

A query that passed graphql-core's validation is compiled once: each selection becomes a template
and a tuple of functions, so that a page or a bulk result costs string formatting instead of a
resolver call per field. Mutations, directives and introspection run through graphql-core's own
executor with the same table of fields; a test holds both ways against each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii as quote
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
    SelectionSetNode,
    is_abstract_type,
)
from graphql.execution.values import get_argument_values

from sandbox.shopify.fields import ASKED, PLAIN, SAME
from sandbox.shopify.world import Run

Render = Callable[[Any, Run], str]
FIXED_KINDS = {"Media": "MediaImage", "Event": "BasicEvent", "DiscountCode": "DiscountCodeBasic"}


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
    ) -> Render:
        """The function for one object type; `skip` names response keys to leave out."""
        template, parts = self._parts(kind, sets, lambda value, _run: value, skip)
        if len(parts) == 1:
            (only,) = parts
            return lambda value, run: template % only(value, run)

        def render(value: Any, run: Run) -> str:
            return template % tuple([part(value, run) for part in parts])

        return render

    def _parts(
        self,
        kind: GraphQLObjectType,
        sets: list[SelectionSetNode],
        reach: Callable[[Any, Run], Any],
        skip: frozenset[str] = frozenset(),
    ) -> tuple[str, list[Render]]:
        """A template and its functions; `reach` leads from the outer object to this one."""
        pieces: list[str] = []
        parts: list[Render] = []
        for key, nodes in self.collect(kind, sets).items():
            if key in skip:
                continue
            name = nodes[0].name.value
            if name == "__typename":
                pieces.append(f'"{key}":"{kind.name}"')
                continue
            template, found = self._field(kind, kind.fields[name], name, nodes, reach)
            pieces.append(f'"{key}":{template}')
            parts += found
        return "{" + ",".join(pieces) + "}", parts

    def _field(
        self,
        kind: GraphQLObjectType,
        field: GraphQLField,
        name: str,
        nodes: list[FieldNode],
        reach: Callable[[Any, Run], Any],
    ) -> tuple[str, list[Render]]:
        sets = [node.selection_set for node in nodes if node.selection_set]
        step = self._step(kind.name, name, field, nodes[0], reach)
        type_ = field.type
        if isinstance(type_, GraphQLNonNull) and isinstance(type_.of_type, GraphQLObjectType):
            # Never null: its fields become fields of the outer template.
            return self._parts(type_.of_type, sets, step)
        finish = self._finish(type_, sets)
        return "%s", [lambda value, run: finish(step(value, run), run)]

    def _step(
        self,
        kind: str,
        name: str,
        field: GraphQLField,
        node: FieldNode,
        reach: Callable[[Any, Run], Any],
    ) -> Callable[[Any, Run], Any]:
        if (kind, name) in SAME:
            return reach
        reader = PLAIN.get((kind, name))
        if reader is not None:
            return lambda value, run: reader(reach(value, run))
        asked = ASKED.get((kind, name))
        if asked is None:
            return lambda value, run: reach(value, run)[name]
        if not field.args:
            return lambda value, run: asked(reach(value, run), run)
        slot = id(node)

        def step(value: Any, run: Run) -> Any:
            arguments = run.arguments.get(slot)
            if arguments is None:
                arguments = get_argument_values(field, node, run.variables)
                run.arguments[slot] = arguments
            return asked(reach(value, run), run, **arguments)

        return step

    def _finish(self, type_: GraphQLOutputType, sets: list[SelectionSetNode]) -> Render:
        """From a field's value to its text."""
        if isinstance(type_, GraphQLNonNull):
            return self._present(type_.of_type, sets)
        present = self._present(type_, sets)
        return lambda value, run: "null" if value is None else present(value, run)

    def _present(self, type_: Any, sets: list[SelectionSetNode]) -> Render:
        if isinstance(type_, GraphQLList):
            item = self._finish(type_.of_type, sets)
            return lambda value, run: "[" + ",".join([item(one, run) for one in value]) + "]"
        if isinstance(type_, GraphQLObjectType):
            return self.selection(type_, sets)
        if is_abstract_type(type_):
            return self._abstract(type_, sets)
        return _leaf(type_)

    def _abstract(self, type_: GraphQLAbstractType, sets: list[SelectionSetNode]) -> Render:
        known: dict[str, Render] = {}

        def render(value: Any, run: Run) -> str:
            name = kind_of(value, type_.name)
            found = known.get(name)
            if found is None:
                concrete = self.schema.type_map[name]
                if not isinstance(concrete, GraphQLObjectType):
                    raise TypeError(name)
                found = known[name] = self.selection(concrete, sets)
            return found(value, run)

        return render

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


def _leaf(type_: GraphQLScalarType | GraphQLEnumType) -> Render:
    if type_.name == "Int":
        return lambda value, _run: str(value)
    if type_.name == "Boolean":
        return lambda value, _run: "true" if value else "false"
    if type_.name in ("JSON", "Float"):
        return lambda value, _run: json.dumps(value)
    return lambda value, _run: quote(value)
