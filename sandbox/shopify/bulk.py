"""Bulk operations: a query over everything, written to JSON lines in the background."""

from __future__ import annotations

import threading
import time
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

from sandbox.shopify import paging
from sandbox.shopify.documents import Library, load_schema
from sandbox.shopify.fields import ASKED
from sandbox.shopify.paging import Stream
from sandbox.shopify.render import Compiler
from sandbox.shopify.world import Bulk, Run, World

STREAMS: dict[str, Stream] = {
    "orders": paging.ORDERS,
    "customers": paging.CUSTOMERS,
    "products": paging.PRODUCTS,
    "abandonedCheckouts": paging.CHECKOUTS,
    "inventoryItems": paging.INVENTORY_ITEMS,
}
SCHEMA: GraphQLSchema = load_schema()
LIBRARY = Library(SCHEMA)
KEPT_BYTES = 1_000_000_000
MAX_CONNECTIONS = 5


class CanceledError(Exception):
    """Somebody cancelled the operation."""


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


def check(query: str) -> str | None:
    """Why Shopify would refuse the query, None when it would not."""
    document = LIBRARY.get(query)
    if document.errors:
        return f"Invalid bulk query: {document.errors[0].message}"
    try:
        _compile(query)
    except ValueError as error:
        return str(error)
    return None


def start(world: World, query: str, now: int, *, is_grouped: bool) -> Bulk:
    """Begin an operation in the background; it answers CREATED at first."""
    bulk = Bulk(key=len(world.bulks) + 1, query=query, created_at=now)
    world.bulks[bulk.key] = bulk
    worker = threading.Thread(target=_work, args=(world, bulk, now, is_grouped), daemon=True)
    worker.start()
    # The thread changes this very object: what goes into the answer is a copy.
    return Bulk(key=bulk.key, query=query, created_at=now)


def _work(world: World, bulk: Bulk, now: int, is_grouped: bool) -> None:
    folder = world.path.parent / "bulk"
    folder.mkdir(exist_ok=True)
    path = folder / f"{bulk.key}.jsonl"
    try:
        _wait(bulk, world.settings.bulk_delay_seconds / 2)
        bulk.status = "RUNNING"
        _wait(bulk, world.settings.bulk_delay_seconds / 2)
        _write(world, bulk, now, path, is_grouped)
        bulk.path, bulk.completed_at = path, world.now()
        fault = world.faults.take("shopify", "bulk_failed", bulk.query)
        if fault is not None:
            bulk.partial, bulk.status = True, fault.options.get("status", "FAILED")
            bulk.error_code = fault.options.get("error_code", "INTERNAL_SERVER_ERROR")
        else:
            bulk.status = "COMPLETED"
    except CanceledError:
        bulk.path, bulk.completed_at, bulk.status = path, world.now(), "CANCELED"
    except Exception:
        bulk.completed_at, bulk.status = world.now(), "FAILED"
        bulk.error_code = "INTERNAL_SERVER_ERROR"
        raise
    world.on_bulk(bulk)
    _tidy(folder)


def _tidy(folder: Path) -> None:
    """Keep the newest results, up to a gigabyte."""
    total = 0
    for old in sorted(folder.iterdir(), key=lambda one: -one.stat().st_mtime):
        total += old.stat().st_size
        if total > KEPT_BYTES and total > old.stat().st_size:
            old.unlink()


def _wait(bulk: Bulk, pause: float) -> None:
    end = time.monotonic() + pause
    while time.monotonic() < end:
        _raise_if_canceled(bulk)
        time.sleep(min(0.02, max(end - time.monotonic(), 0)))
    _raise_if_canceled(bulk)


def _raise_if_canceled(bulk: Bulk) -> None:
    if bulk.status == "CANCELING":
        raise CanceledError


def _write(world: World, bulk: Bulk, now: int, path: Path, is_grouped: bool) -> None:
    job = _compile(bulk.query)
    link = world.another_reader()
    world.load_items()
    run = Run(world, now, link=link, is_bulk=True)
    size = 1 if is_grouped else world.settings.bulk_rows_between_children
    with path.open("w", encoding="ascii", newline="\n") as file:
        for nodes in _batches(run, job, size):
            _raise_if_canceled(bulk)
            run.arguments.clear()
            lines = [job.write(node, run) for node in nodes]
            bulk.roots += len(nodes)
            for child in job.children:
                write, read = child.write, child.read
                for node in nodes:
                    tail = child.tail % node.key
                    lines += [write(one, run) + tail for one in read(node, run)]
            bulk.objects += len(lines)
            file.write("\n".join(lines))
            file.write("\n")
    link.close()


def _batches(run: Run, job: Job, size: int) -> Iterator[list[Any]]:
    """Nodes in batches: a batch's children follow after all of its nodes."""
    sort = job.arguments.get("sortKey") or "ID"
    statement, parameters = paging.select_all(run, job.stream, job.arguments.get("query"), sort)
    assert run.link is not None
    cursor = run.link.cursor().execute(statement, parameters)
    while rows := cursor.fetchmany(size):
        yield [job.stream.make(run, row[0], row) for row in rows]


def _compile(query: str) -> Job:
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
