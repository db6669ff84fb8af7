"""A query text, parsed, validated and compiled once; its cost by Shopify's rules."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    build_schema,
    get_named_type,
    is_composite_type,
    is_leaf_type,
    parse,
    validate,
)
from graphql.execution.values import get_argument_values, get_variable_values

from sandbox.shopify.render import Compiler, NotCompiledError
from sandbox.shopify.world import Run

Write = Callable[[Any, Run], str]
MAX_COST = 1000
MUTATION_COST = 10
MAX_DOCUMENTS = 500


def load_schema() -> GraphQLSchema:
    """The part of Shopify's schema that the sandbox serves."""
    return build_schema(Path(__file__).with_name("schema.graphql").read_text(encoding="utf-8"))


@dataclass
class Document:
    """One query text. `errors` is not empty when it cannot run."""

    node: DocumentNode | None = None
    operations: dict[str, OperationDefinitionNode] = field(default_factory=dict)
    fragments: dict[str, FragmentDefinitionNode] = field(default_factory=dict)
    errors: list[GraphQLError] = field(default_factory=list)
    compiled: dict[str, Write | None] = field(default_factory=dict)

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """The operation to run.

        Raises:
            GraphQLError: there are several and none was named, or the name is unknown.
        """
        if name is None and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        found = self.operations.get(name or "")
        if found is None:
            raise GraphQLError("An operation name is required" if not name else "No such operation")
        return found


class Library:
    """The documents seen so far, newest last; the oldest are forgotten."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self.schema = schema
        self._known: OrderedDict[str, Document] = OrderedDict()

    def get(self, text: str) -> Document:
        """The document of a query text."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self._read(text)
            if len(self._known) > MAX_DOCUMENTS:
                self._known.popitem(last=False)
        return found

    def _read(self, text: str) -> Document:
        try:
            node = parse(text)
        except GraphQLError as error:
            return Document(errors=[error])
        document = Document(node, errors=validate(self.schema, node))
        for one in node.definitions:
            if isinstance(one, OperationDefinitionNode):
                document.operations[one.name.value if one.name else ""] = one
            elif isinstance(one, FragmentDefinitionNode):
                document.fragments[one.name.value] = one
        return document

    def compiled(
        self, document: Document, operation: OperationDefinitionNode
    ) -> Callable[[Any, Run], str] | None:
        """The function for a query, None when graphql-core has to execute it."""
        name = operation.name.value if operation.name else ""
        if name not in document.compiled:
            document.compiled[name] = self._compile(document, operation)
        return document.compiled[name]

    def _compile(
        self, document: Document, operation: OperationDefinitionNode
    ) -> Callable[[Any, Run], str] | None:
        root = self.schema.query_type
        names = {
            node.name.value
            for node in operation.selection_set.selections
            if isinstance(node, FieldNode)
        }
        if (
            operation.operation is not OperationType.QUERY
            or root is None
            or names & {"__schema", "__type"}
        ):
            return None
        compiler = Compiler(self.schema, document.fragments)
        try:
            return compiler.selection(root, [operation.selection_set]).full()
        except NotCompiledError:
            return None

    def variables(self, operation: OperationDefinitionNode, given: dict[str, Any]) -> Any:
        """The values of an operation's variables.

        Raises:
            GraphQLError: one is missing or of the wrong type.
        """
        found = get_variable_values(
            self.schema, operation.variable_definitions or (), given, max_errors=5
        )
        if isinstance(found, list):
            raise found[0]
        return found

    def cost(
        self, document: Document, operation: OperationDefinitionNode, variables: Any
    ) -> tuple[int, float]:
        """Requested cost, and the cost of one item of the (first) root connection.

        An object costs 1, a scalar nothing, a mutation 10, a connection 2 plus its items. Items
        count less than once each: since 2025 Shopify's requested cost grows far slower than
        `first` (25 for 250 variants with their items); the exact curve is not published, the
        sandbox takes 2 ln(first), which gives that figure.
        """
        counter = _Counter(self.schema, document.fragments, variables)
        if operation.operation is OperationType.MUTATION:
            return MUTATION_COST, 0.0
        root = self.schema.query_type
        assert root is not None
        total = counter.selection(root, operation.selection_set)
        return math.ceil(total), counter.item


def scale(items: int) -> float:
    """How many items a connection of this size is charged for."""
    return float(items) if items < 3 else min(items, 2 * math.log(items))


class _Counter:
    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: dict[str, FragmentDefinitionNode],
        variables: Any,
    ) -> None:
        self.schema, self.fragments, self.variables = schema, fragments, variables
        self.item = 0.0

    def selection(self, kind: Any, selection: Any) -> float:
        total = 0.0
        for node in selection.selections:
            if isinstance(node, FieldNode):
                total += self.field(kind, node)
                continue
            inner = self.fragments[node.name.value] if hasattr(node, "name") else node
            condition = inner.type_condition
            target = self.schema.type_map[condition.name.value] if condition else kind
            total += self.selection(target, inner.selection_set)
        return total

    def field(self, kind: Any, node: FieldNode) -> float:
        if node.name.value.startswith("__") or not hasattr(kind, "fields"):
            return 0.0
        field_ = kind.fields[node.name.value]
        type_ = get_named_type(field_.type)
        if is_leaf_type(type_) or node.selection_set is None:
            return 0.0
        if not is_composite_type(type_) or not type_.name.endswith("Connection"):
            return 1.0 + self.selection(type_, node.selection_set)
        arguments = get_argument_values(field_, node, self.variables)
        item = self.items(type_, node.selection_set)
        self.item = item
        return 2.0 + item * scale(arguments.get("first") or 0)

    def items(self, type_: Any, selection: Any) -> float:
        """The cost of one item of a connection: through `nodes`, or `edges` and `node`."""
        total = 0.0
        assert isinstance(type_, GraphQLObjectType)
        for node in selection.selections:
            if not isinstance(node, FieldNode) or node.selection_set is None:
                continue
            target = get_named_type(type_.fields[node.name.value].type)
            if node.name.value == "nodes":
                total += 1.0 + self.selection(target, node.selection_set)
            elif node.name.value == "edges":
                total += self.selection(target, node.selection_set)
        return total
