"""Runs one sync in a process of its own, in small batches, so that a test can kill it anywhere.

python -m tests.sync.one_sync WAREHOUSE_URI SHOP_URL TOKEN ACCOUNT STREAM
"""

from __future__ import annotations

import sys

import psycopg

from marketing_ops import clock
from marketing_ops.connections import Connection
from marketing_ops.sync import engine, store
from marketing_ops.sync.runner import sync_stream
from marketing_ops.window import Window

engine.BATCH_ROWS = 700
store.FEW_ROWS = 100


def main(uri: str, url: str, token: str, account: str, stream: str) -> None:
    """Sync once; prints `reading` when the run begins."""
    now = clock.now()
    with psycopg.connect(uri, autocommit=True, options="-c timezone=UTC") as warehouse:
        print("reading", flush=True)
        sync_stream(
            warehouse,
            account,
            stream,
            Window(now, now),
            resolve=lambda conn_id: Connection(conn_id, host=url, password=token),
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
