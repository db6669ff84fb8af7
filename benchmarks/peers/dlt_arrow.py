"""dlt at its fastest: Arrow tables of 20,000 rows (all text), parquet files, merged by id."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator

import dlt
import pyarrow as pa
from pages import cpu, flat_pages

URL, URI = sys.argv[1:3]
TABLE_ROWS = 20_000


@dlt.resource(name="contacts", primary_key="id", write_disposition="merge")
def contacts() -> Iterator[pa.Table]:
    """Tables of so many rows."""
    rows = []
    for page in flat_pages(URL):
        rows += page
        if len(rows) >= TABLE_ROWS:
            yield pa.Table.from_pylist(rows)
            rows = []
    if rows:
        yield pa.Table.from_pylist(rows)


with tempfile.TemporaryDirectory() as folder:
    os.environ |= {"DLT_DATA_DIR": folder, "RUNTIME__DLTHUB_TELEMETRY": "false"}
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=folder,
        destination=dlt.destinations.postgres(URI),
        dataset_name="peer_dlt_arrow",
    )
    started, spent = time.perf_counter(), cpu()
    info = pipeline.run(contacts(), loader_file_format="parquet")
    seconds, spent = time.perf_counter() - started, cpu() - spent
    info.raise_on_failed_jobs()
print(json.dumps({"seconds": seconds, "cpu": spent, "table": "peer_dlt_arrow.contacts"}))
