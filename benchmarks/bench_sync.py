"""The sync engine beside its peers and its limits: rows a second, CPU, memory and WAL.

A million HubSpot-like contacts (pages of 100, and one file) and a million order lines (Shopify's
bulk shape) come from a static server on loopback into one Postgres: through the shipped
`SyncStreamOperator`; through dlt, a Singer tap and PyAirbyte; and through the limits, which fetch
without parsing and COPY without fetching. Methods take turns within each round; what counts is
the median. See benchmarks/README.md.

    make bench-sync
    .venv/bin/python benchmarks/bench_sync.py --rows 50000 --rounds 1 --only contacts peers
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "plugins"), str(HERE.parent), str(HERE)]

import bench_sync_data as data  # noqa: E402 - the path has to stand before
from bench_sync_judge import Figure, Series, figure_table, method_table  # noqa: E402
from bench_sync_measure import (  # noqa: E402
    ROOT,
    Measured,
    Warehouse,
    environment,
    free_port,
    include_folder,
    measured,
    static_server,
    wait_for,
    warehouse,
)
from bench_sync_peers import PEERS, Peer, installed  # noqa: E402

GROUPS = ("contacts", "peers", "lines", "memory", "latency", "wal")
DELAY_MS, PARTS = 100, 8
COPY_GOAL, COPY_AIM = 0.25, 0.35
MEMORY_GOAL_MB, GROWTH_GOAL = 60.0, 1.1
LATENCY_GOAL, WAL_GOAL, STILL_GOAL_MB = 1.15, 0.2, 1.0
SANDBOX_GOAL = 40_000


class Bench:
    """All measures of one benchmark, over one warehouse and one static server."""

    def __init__(
        self, options: argparse.Namespace, folder: Path, store: Warehouse, base: str
    ) -> None:
        self.rows, self.peer_rows, self.rounds = options.rows, options.peer_rows, options.rounds
        self.folder, self.store, self.base = folder, store, base
        self.series: dict[str, Series] = {}
        self.figures: list[Figure] = []

    # -------------------------------------------------------------- runs

    def role(self, *arguments: str, at: str = "", rows: int = 0) -> Measured:
        """Run one of our roles; `at` is what the accounts' connections point to."""
        settings = environment(self.folder, self.store.uri, f"{self.base}{at}", rows)
        command = [sys.executable, str(HERE / "bench_sync_roles.py"), *arguments]
        return measured(command, settings, self.store.postmaster, self.folder / "last.log")

    def contacts(self, stream: str, rows: int, at: str = "", *flags: str) -> Measured:
        """The operator reads contacts.

        Raises:
            RuntimeError: not every contact is in the books.
        """
        run = self.role("task", "bench", stream, *flags, at=f"{at}/base/{rows}", rows=rows)
        return self._whole(run, stream, rows)

    def lines(self, count: int) -> Measured:
        """The operator reads orders with all their lines."""
        run = self.role("task", "bench_shop", "orders", at=f"/orders/{count}")
        wanted = data.orders(self.folder, count)[1]
        return self._whole(run, "order_lines", wanted)

    def _whole(self, run: Measured, stream: str, rows: int) -> Measured:
        counts = run.said["counts"][stream]
        if counts["fetched"] != rows or counts["rejected"]:
            raise RuntimeError(f"{stream}: {rows} rows were there, the books say {counts}")
        return run

    def copied(self, table: str, name: str) -> Measured:
        """COPY of what our run left in the table, as prepared text; made in the first round."""
        path = self.folder / f"{name}.copy"
        if name not in self.series or not self.series[name].runs:
            self.store.export(table, path)
        self.store.empty()
        return self.role("copy", self.store.uri, table, str(path))

    def peer(self, peer: Peer, rows: int) -> Measured:
        """One of the others loads the same pages."""
        command = [str(installed(peer)), str(HERE / "peers" / f"{peer.name}.py")]
        command += [f"{self.base}/base/{rows}", _url(self.store.uri)]
        settings = {**os.environ, "HOME": str(self.folder)}
        log = self.folder / f"{peer.name}.log"
        run = measured(command, settings, self.store.postmaster, log)
        found = self.store.execute(f"select count(*) from {run.said['table']}")[0][0]
        if found != rows:
            raise RuntimeError(f"{peer.name} stored {found} of {rows} rows")
        return run

    def add(self, name: str, is_: str, rows: int, run: Measured) -> None:
        """Keep a run of a method."""
        self.series.setdefault(name, Series(name, is_, rows, [])).runs.append(run)
        say(f"  {name}: {rows / run.seconds:,.0f} rows/s, {run.megabytes:.0f} MB")
        self.store.empty()

    # -------------------------------------------------------------- rounds

    def contact_round(self) -> None:
        """Our two ways to read contacts, and the limits."""
        rows, base = self.rows, f"{self.base}/base/{self.rows}"
        run = self.contacts("contacts", rows)
        copied = self.copied("bench__contacts", "copy")
        self.add("pages", "ours: pages of 100", rows, run)
        self.add("copy", "limit: COPY of prepared contacts", rows, copied)
        self.add("file", "ours: contacts as JSONL", rows, self.contacts("contacts_file", rows))
        fetched = self.role("fetch", base, str(rows))
        self.add("fetch", "limit: fetch the pages only", rows, fetched)
        fetched = self.role("fetch_file", f"{base}/contacts.jsonl")
        self.add("fetch_file", "limit: fetch the JSONL only", rows, fetched)

    def peer_round(self) -> None:
        """The others; one that cannot be had is reported with the reason."""
        for peer in PEERS:
            rows = self.peer_rows if peer.is_slow else self.rows
            if peer.name in self.series and self.series[peer.name].problem:
                continue
            try:
                self.add(peer.name, peer.is_, rows, self.peer(peer, rows))
            except RuntimeError as error:
                self.series[peer.name] = Series(peer.name, peer.is_, rows, [], str(error))
                say(f"  {peer.name}: {error}")

    def line_round(self) -> None:
        """Orders with their lines, and the limits."""
        _, lines, orders = data.orders(self.folder, self.rows)
        run = self.lines(self.rows)
        copied = self.copied("shopify__order_lines", "copy_lines")
        self.add("lines", f"ours: order lines (with {orders} orders)", lines, run)
        self.add("copy_lines", "limit: COPY of prepared lines", lines, copied)
        fetched = self.role("fetch_file", f"{self.base}/orders/{self.rows}/bulk.jsonl")
        self.add("fetch_lines", "limit: fetch the lines only", lines, fetched)

    # -------------------------------------------------------------- further measures

    def memory(self) -> None:
        """Peak memory above an empty task, and how it grows from a tenth of the rows to all."""
        few, empty = self.rows // 10, self.role("empty").megabytes
        ways = {
            "pages": lambda rows: self.contacts("contacts", rows),
            "file": lambda rows: self.contacts("contacts_file", rows),
            "lines": self.lines,
        }
        for name, way in ways.items():
            small = self._peak(way, few) - empty
            large = self._peak(way, self.rows) - empty
            if name in self.series:
                large = self.series[name].median("megabytes") - empty
            self._most(
                f"memory_above_empty_task_{name}",
                "MB",
                large,
                empty,
                "the empty task itself",
                MEMORY_GOAL_MB,
                value=large,
            )
            self._most(f"memory_growth_{name}", "MB", large, small, f"at {few} rows", GROWTH_GOAL)

    def _peak(self, way: Callable[[int], Measured], rows: int) -> float:
        found = way(rows).megabytes
        self.store.empty()
        return found

    def latency(self) -> None:
        """Eight parts of a slow source side by side, against the ideal."""
        rows = min(self.rows, 80_000)
        ideal = rows / data.PAGE_ROWS / PARTS * DELAY_MS / 1000
        runs = []
        for _ in range(self.rounds):
            runs.append(self.contacts("contacts_in_parts", rows, f"/delay/{DELAY_MS}"))
            self.store.empty()
        seconds = Series("", "", rows, runs).median("seconds")
        self._most(
            "seconds_at_100_ms_a_page_in_8_parts",
            "s",
            seconds,
            ideal,
            "pages / 8 x 100 ms",
            LATENCY_GOAL,
        )

    def wal(self) -> None:
        """WAL of reading everything again, when a tenth changed and when nothing did."""
        rows, table = min(self.rows, 200_000), "bench__contacts"
        data.contacts(self.folder, rows, data.CHANGED)
        self.contacts("contacts", rows)
        self.store.execute(
            f"drop table if exists upsert_target;"
            f"create table upsert_target (like mkt_raw.{table} including all);"
            f"insert into upsert_target select * from mkt_raw.{table}"
        )
        again = ("task", "bench", "contacts", "full_refresh")
        still = self._wal_of(*again, name="base", rows=rows)
        ours = self._wal_of(*again, name=data.CHANGED, rows=rows)
        self.store.export(table, self.folder / "upsert.copy")
        plain = self._wal_of("upsert", self.store.uri, table, str(self.folder / "upsert.copy"))
        self.store.execute("drop table upsert_target")
        self.store.empty()
        is_, per_200k = "an upsert without condition", 200_000 / rows
        self._most("wal_a_tenth_changed", "MB", ours, plain, is_, WAL_GOAL)
        self._most(
            "wal_nothing_changed_per_200k_rows",
            "MB",
            still * per_200k,
            plain * per_200k,
            is_,
            STILL_GOAL_MB,
            value=still * per_200k,
        )

    def _wal_of(self, *role: str, name: str = "base", rows: int = 0) -> float:
        """MB of WAL that a role makes, without a checkpoint within.

        The pages it changes were changed before since the last one, so that no full-page images
        are in it: how many those are depends on the checkpoint, not on the statement.
        """
        before = self.store.wal_written()
        self.role(*role, at=f"/{name}/{rows}", rows=rows)
        return (self.store.wal_written() - before) / 1e6

    def sandbox(self) -> None:
        """The order lines out of the sandbox, which renders them on the same cores meanwhile."""
        port = free_port()
        command = [sys.executable, "-m", "sandbox", "serve", "--port", str(port)]
        command += ["--smtp-port", str(free_port()), "--data-dir", str(self.folder / "sandbox")]
        settings = {**os.environ, "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT, env=settings)
        self.store.empty()
        mine, self.base = self.base, f"http://127.0.0.1:{port}"
        try:
            wait_for(f"{self.base}/_sandbox/state")
            run = self.role("task", "bench_shop", "orders", at="/shopify")
        finally:
            self.base = mine
            process.terminate()
            process.wait()
        rate = run.said["counts"]["order_lines"]["inserted"] / run.seconds
        name = "order_lines_per_second_from_sandbox"
        self.figures.append(Figure(name, "rows/s", rate, SANDBOX_GOAL, "goal", 1.0))

    # -------------------------------------------------------------- verdicts

    def compare(self) -> None:
        """The rates of the rounds, ours over the others'."""
        for ours, other in (("pages", "copy"), ("file", "copy"), ("lines", "copy_lines")):
            if ours in self.series:
                self._figure(ours, other, COPY_GOAL, COPY_AIM)
        for ours, other in (("pages", "fetch"), ("file", "fetch_file"), ("lines", "fetch_lines")):
            if ours in self.series:
                self._figure(ours, other, None, None)
        for peer in PEERS:
            if peer.name in self.series and self.series[peer.name].runs and "pages" in self.series:
                self._figure("pages", peer.name, peer.goal, peer.aim)

    def _most(
        self,
        name: str,
        unit: str,
        ours: float,
        other: float,
        other_is: str,
        goal: float,
        *,
        value: float | None = None,
    ) -> None:
        self.figures.append(
            Figure(name, unit, ours, other, other_is, goal, is_most=True, value=value)
        )

    def _figure(self, ours: str, other: str, goal: float | None, aim: float | None) -> None:
        one, two = self.series[ours], self.series[other]
        name = f"{ours}_per_second_to_{other}"
        self.figures.append(Figure(name, "rows/s", one.rate, two.rate, two.is_, goal, aim=aim))


def _url(uri: str) -> str:
    """A URL of the server as peers want it; they insist on a password, which nobody asks for."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(uri)
    login = f"{parts.get('user') or 'postgres'}:{parts.get('password') or 'none'}"
    return f"postgresql://{login}@{parts['host']}:{parts.get('port') or 5432}/{parts['dbname']}"


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def run(options: argparse.Namespace, folder: Path) -> Bench:
    """Make the data, then measure."""
    groups = options.only or GROUPS
    say(f"data in {folder}")
    for rows in {options.rows, options.peer_rows, options.rows // 10, min(options.rows, 80_000)}:
        data.contacts(folder, rows)
    for rows in {100, min(options.rows, 200_000)}:
        data.contacts(folder, rows)
    if "lines" in groups or "memory" in groups:
        data.orders(folder, options.rows)
        data.orders(folder, options.rows // 10)
    include_folder(folder)
    with warehouse() as store, static_server(folder) as base:
        bench = Bench(options, folder, store, base)
        bench.role("migrate")
        rounds = {
            "contacts": bench.contact_round,
            "peers": bench.peer_round,
            "lines": bench.line_round,
        }
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            for name in [name for name in rounds if name in groups]:
                rounds[name]()
        bench.compare()
        for name in [name for name in ("memory", "latency", "wal") if name in groups]:
            say(name)
            getattr(bench, name)()
        if options.sandbox:
            say("sandbox")
            bench.sandbox()
        return bench


def main() -> int:
    """Measure, print the tables and one JSON line, keep the result; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="contacts, and order lines")
    parser.add_argument("--peer-rows", type=int, default=100_000, help="contacts for slow peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=GROUPS, help="only these measures")
    parser.add_argument("--sandbox", action="store_true", help="also out of the sandbox")
    parser.add_argument("--folder", type=Path, help="where prepared data is kept")
    options = parser.parse_args()
    options.peer_rows = min(options.peer_rows, options.rows)
    folder = options.folder or Path(tempfile.gettempdir()) / "marketing_ops_bench"
    folder.mkdir(parents=True, exist_ok=True)
    bench = run(options, folder.resolve())
    print(method_table(list(bench.series.values())), end="\n\n")
    print(figure_table(bench.figures), end="\n\n")
    figures = [figure.as_json() for figure in bench.figures]
    at = datetime.now(UTC)
    found = {
        "bench": "sync",
        "at": at.isoformat(timespec="seconds"),
        "rows": options.rows,
        "rounds": options.rounds,
        "methods": [series.as_json() for series in bench.series.values()],
        "figures": figures,
    }
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"sync-{at:%Y%m%dT%H%M%S}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({"bench": "sync", "figures": figures}))
    return 0 if all(figure.is_met for figure in bench.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
