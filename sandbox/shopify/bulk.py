"""Bulk operations: a query over everything, written to JSON lines in the background.

A large result is written in parts by processes of their own, one for each processor, so that the
shop goes on answering meanwhile and the memory is given back.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sandbox.shopify import bulk_job
from sandbox.shopify.bulk_job import LIBRARY, SCHEMA
from sandbox.shopify.world import Bulk, Run, World

__all__ = ["LIBRARY", "SCHEMA", "check", "start"]

KEPT_BYTES = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]


class CanceledError(Exception):
    """Somebody cancelled the operation."""


def check(query: str) -> str | None:
    """Why Shopify would refuse the query, None when it would not."""
    document = LIBRARY.get(query)
    if document.errors:
        return f"Invalid bulk query: {document.errors[0].message}"
    try:
        bulk_job.compile_query(query)
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
    job = bulk_job.compile_query(bulk.query)
    link = world.another_reader()
    run = Run(world, now, link=link)
    size = 1 if is_grouped else world.settings.bulk_rows_between_children
    nodes = bulk_job.count(run, job)
    if nodes >= world.settings.bulk_large:
        link.close()
        _write_parts(world, bulk, now, path, size, nodes)
        return
    for lines, more in bulk_job.write(run, job, path, size, nodes):
        bulk.objects, bulk.roots = bulk.objects + lines, bulk.roots + more
        _raise_if_canceled(bulk)
    link.close()


def _write_parts(world: World, bulk: Bulk, now: int, path: Path, size: int, nodes: int) -> None:
    count = min(os.cpu_count() or 1, 4)
    share = -(-nodes // count)
    paths = [path, *(path.with_suffix(f".part{number}") for number in range(1, count))]
    workers = []
    for number, part in enumerate(paths):
        told = {
            "shop": str(world.path.resolve()),
            "base_url": world.base_url(),
            "query": bulk.query,
            "now": now,
            "path": str(part.resolve()),
            "size": size,
            "limit": share,
            "offset": number * share,
        }
        workers.append(_worker(told))
    try:
        while any(worker.poll() is None for worker in workers):
            _raise_if_canceled(bulk)
            time.sleep(0.02)
    finally:
        for worker in workers:
            worker.kill()
    for worker in workers:
        assert worker.stdout is not None
        lines, roots = json.loads(worker.stdout.read())
        bulk.objects, bulk.roots = bulk.objects + lines, bulk.roots + roots
    with path.open("ab") as whole:
        for part in paths[1:]:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, whole, 1 << 22)
            part.unlink()


def _worker(told: dict[str, Any]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sandbox.shopify.bulk_job"]
    worker = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
    assert worker.stdin is not None
    worker.stdin.write(json.dumps(told).encode())
    worker.stdin.close()
    return worker
