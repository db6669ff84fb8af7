"""dlt as its tutorial shows it: a generator of dicts, merged by id."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import dlt
from pages import cpu, flat_pages

URL, URI = sys.argv[1:3]


@dlt.resource(name="contacts", primary_key="id", write_disposition="merge")
def contacts() -> Iterator[list[dict[str, Any]]]:
    """Pages as they come."""
    yield from flat_pages(URL)


with tempfile.TemporaryDirectory() as folder:
    os.environ |= {"DLT_DATA_DIR": folder, "RUNTIME__DLTHUB_TELEMETRY": "false"}
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=folder,
        destination=dlt.destinations.postgres(URI),
        dataset_name="peer_dlt_usual",
    )
    started, spent = time.perf_counter(), cpu()
    info = pipeline.run(contacts())
    seconds, spent = time.perf_counter() - started, cpu() - spent
    info.raise_on_failed_jobs()
print(json.dumps({"seconds": seconds, "cpu": spent, "table": "peer_dlt_usual.contacts"}))
