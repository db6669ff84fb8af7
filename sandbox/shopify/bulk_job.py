"""What a bulk operation does: read every record of a query and write it as JSON lines.

`python -m sandbox.shopify.bulk_job` writes one part of a large result: see `bulk.py`.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphql import (
    FieldNode,
    GraphQLObjectType,
    GraphQLSchema,
    SelectionSetNode,
    get_named_type,
)
from graphql.execution.values import get_argument_values

from sandbox.faults import Faults
from sandbox.shopify import paging
from sandbox.shopify.documents import Library, load_schema
from sandbox.shopify.fields import ASKED
from sandbox.shopify.paging import Stream
from sandbox.shopify.render import Compiler
from sandbox.shopify.world import Run, World

STREAMS: dict[str, Stream] = {
    "orders": paging.ORDERS,
    "customers": paging.CUSTOMERS,
    "products": paging.PRODUCTS,
    "abandonedCheckouts": paging.CHECKOUTS,
    "inventoryItems": paging.INVENTORY_ITEMS,
}
SCHEMA: GraphQLSchema = load_schema()
LIBRARY = Library(SCHEMA)
MAX_CONNECTIONS = 5


@dataclass
class Child:
    """A connection inside a node: its items become lines of their own."""

    read: Callable[[Any, Run], Any]
    write: Callable[[Any, Run], str]
    tail: str
    """What closes a line: the parent's id, to be filled in."""


@dataclass
class Job:
    """A compiled bulk query: how to read the nodes, how to write them and their children."""

    stream: Stream
    arguments: dict[str, Any]
    write: Callable[[Any, Run], str]
    children: list[Child]


def count(run: Run, job: Job) -> int:
    """How many nodes the query finds."""
    statement, parameters = _selected(run, job)
    ((found,),) = run.rows(f"select count(*) from ({statement})", parameters)  # noqa: S608
    return int(found)


def write(
    run: Run, job: Job, path: Path, size: int, limit: int, offset: int = 0
) -> Iterator[tuple[int, int]]:
    """Write nodes and their children to a file; yields lines and nodes, batch by batch.

    A batch's children follow after all of its nodes (`size`).
    """
    statement, parameters = _selected(run, job)
    assert run.link is not None
    statement += " limit ? offset ?"
    cursor = run.link.cursor().execute(statement, [*parameters, limit, offset])
    with path.open("w", encoding="ascii", newline="\n") as file:
        while rows := cursor.fetchmany(size):
            nodes = [job.stream.make(run, row[0], row) for row in rows]
            lines = [job.write(node, run) for node in nodes]
            for child in job.children:
                one_line, read = child.write, child.read
                for node in nodes:
                    tail = child.tail % node.key
                    lines += [one_line(one, run) + tail for one in read(node, run)]
            file.write("\n".join(lines) + "\n")
            yield len(lines), len(nodes)


def _selected(run: Run, job: Job) -> tuple[str, list[Any]]:
    sort = job.arguments.get("sortKey") or "ID"
    return paging.select_all(run, job.stream, job.arguments.get("query"), sort)


def compile_query(query: str) -> Job:
    """A bulk query made ready.

    Raises:
        ValueError: Shopify, or the sandbox, does not run it in bulk.
    """
    document = LIBRARY.get(query)
    operation = document.operation(None)
    root = SCHEMA.query_type
    assert root is not None
    compiler = Compiler(SCHEMA, document.fragments)
    fields = [node for node in operation.selection_set.selections if isinstance(node, FieldNode)]
    if len(fields) != 1 or fields[0].name.value not in STREAMS:
        raise ValueError("Bulk queries must contain exactly one connection the sandbox knows.")
    field = fields[0]
    if operation.variable_definitions:
        raise ValueError("Bulk queries cannot contain variables.")
    arguments = get_argument_values(root.fields[field.name.value], field)
    connection = get_named_type(root.fields[field.name.value].type)
    kind, selection = _node(connection, field)
    render, children = _lines(compiler, kind, selection, parent=None)
    if len(children) >= MAX_CONNECTIONS:
        raise ValueError("Bulk queries cannot contain more than 5 connections.")
    return Job(STREAMS[field.name.value], arguments, render, children)


def _node(connection: Any, field: FieldNode) -> tuple[GraphQLObjectType, SelectionSetNode]:
    """The item type and selection of a connection, through `edges { node }` or `nodes`."""
    for node in field.selection_set.selections if field.selection_set else ():
        if not isinstance(node, FieldNode) or node.selection_set is None:
            continue
        target = get_named_type(connection.fields[node.name.value].type)
        if node.name.value == "nodes":
            return target, node.selection_set
        if node.name.value == "edges":
            return _node(target, node)
        if node.name.value == "node":
            return target, node.selection_set
    raise ValueError("Bulk queries must select nodes or edges of their connections.")


def _lines(
    compiler: Compiler, kind: GraphQLObjectType, selection: SelectionSetNode, parent: str | None
) -> tuple[Callable[[Any, Run], str], list[Child]]:
    children: list[Child] = []
    nested: set[str] = set()
    for key, nodes in compiler.collect(kind, [selection]).items():
        name = nodes[0].name.value
        if name == "__typename":
            continue
        type_ = get_named_type(kind.fields[name].type)
        if not type_.name.endswith("Connection"):
            continue
        if parent is not None:
            raise ValueError("Bulk queries cannot nest connections more than two levels deep.")
        nested.add(key)
        child_kind, child_selection = _node(type_, nodes[0])
        child, _ = _lines(compiler, child_kind, child_selection, parent=kind.name)
        tail = f',"__parentId":"gid://shopify/{kind.name}/%s"}}'
        children.append(Child(_reader(kind.name, name), child, tail))
    if children and not any(
        nodes[0].name.value == "id" for nodes in compiler.collect(kind, [selection]).values()
    ):
        raise ValueError("The parent of a nested connection must select its id.")
    render = compiler.selection(kind, [selection], frozenset(nested), is_open=parent is not None)
    return render.full(), children


def _reader(kind: str, name: str) -> Callable[[Any, Run], Any]:
    """All items of a nested connection, whatever `first` says."""
    if (kind, name) == ("Order", "lineItems"):
        return lambda node, _run: node.lines()
    if (kind, name) == ("AbandonedCheckout", "lineItems"):
        return lambda node, _run: node.lines
    asked = ASKED[kind, name]
    return lambda node, run: asked(node, run, first=paging.MAX_PAGE).items


def main() -> int:
    """Write one part of a result, as told on standard input; prints lines and nodes."""
    told = json.loads(sys.stdin.read())
    gc.disable()  # a short life without cycles, and a heap that would be searched often
    world = World(Path(told["shop"]), lambda: told["base_url"], Faults())
    world.load_items()
    run = Run(world, told["now"], link=world.reader)
    job = compile_query(told["query"])
    lines = nodes = 0
    for more_lines, more_nodes in write(
        run, job, Path(told["path"]), told["size"], told["limit"], told["offset"]
    ):
        lines, nodes = lines + more_lines, nodes + more_nodes
    print(json.dumps([lines, nodes]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
