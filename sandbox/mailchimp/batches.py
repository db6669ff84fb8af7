"""Batches: many calls in one, worked off later; their answers lie in a gz-compressed tar."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

from sandbox.mailchimp.calls import Call, Problem, invalid, links, missing
from sandbox.mailchimp.names import iso, key_of
from sandbox.records import Version

MAX_PENDING = 500
URL_SECONDS = 600
Perform = Callable[[str, str, dict[str, str], Any], tuple[int, Any]]
"""Answers (method, path, query, body) with (status, document)."""


def create(call: Call) -> Any:
    """Take a batch in; it is not worked off yet."""
    given = call.body.get("operations")
    if not isinstance(given, list) or not given:
        raise invalid("The resource submitted could not be validated.", "operations", "Missing")
    waiting = [one for one in call.all("batch") if one.document["status"] != "finished"]
    if len(waiting) >= MAX_PENDING:
        raise Problem(429, "Too Many Requests", "You have more than 500 pending batches.")
    key = key_of(f"batch:{call.now}:{len(call.all('batch'))}")[:10]
    made = {"status": "pending", "operations": given, "results": [], "completed": None}
    call.account.records.put("batch", key, call.now, {**made, "submitted": call.now})
    return shown(call, call.get("batch", key))


def listing(call: Call) -> Any:
    """The batches, newest first."""
    found = sorted(call.all("batch"), key=lambda one: (-one.created_at, one.key))
    return {"batches": [shown(call, one) for one in call.page(found)], "total_items": len(found)}


def one_batch(call: Call, key: str) -> Any:
    """How far a batch is; asked again, the URL of its results is valid for ten more minutes."""
    return shown(call, call.get("batch", key))


def remove(call: Call, key: str) -> None:
    """Stop a batch and forget it."""
    call.get("batch", key)
    call.account.records.put("batch", key, call.now, None)


def work(call: Call, perform: Perform) -> None:
    """Work off the batches that are due."""
    delay = call.account.settings.batch_delay_seconds * 1000
    for one in call.all("batch"):
        known = one.document
        if known["status"] == "finished" or call.now < known["submitted"] + delay:
            continue
        results = [_result(perform, operation) for operation in known["operations"]]
        done = {"status": "finished", "results": results, "completed": call.now}
        call.account.records.put("batch", one.key, call.now, {**known, **done})


def _result(perform: Perform, operation: dict[str, Any]) -> dict[str, Any]:
    try:
        body = json.loads(operation.get("body") or "{}")
    except json.JSONDecodeError:
        status, answer = 400, None
    else:
        path = "/" + str(operation.get("path", "")).strip("/")
        query = {name: str(value) for name, value in (operation.get("params") or {}).items()}
        status, answer = perform(str(operation.get("method", "GET")).upper(), path, query, body)
    return {
        "status_code": status,
        "operation_id": operation.get("operation_id"),
        "response": "" if answer is None else json.dumps(answer),
    }


def shown(call: Call, one: Version) -> dict[str, Any]:
    """A batch as the API shows it."""
    known = one.document
    is_done = known["status"] == "finished"
    base = f"{call.account.base_url()}/mailchimp/results/{one.key}.tar.gz"
    results = known["results"]
    return {
        "id": one.key,
        "status": known["status"],
        "total_operations": len(known["operations"]),
        "finished_operations": len(results),
        "errored_operations": sum(1 for result in results if result["status_code"] >= 400),
        "submitted_at": iso(known["submitted"]),
        "completed_at": iso(known["completed"]),
        "response_body_url": f"{base}?expires={call.now // 1000 + URL_SECONDS}" if is_done else "",
        "_links": links(f"/batches/{one.key}"),
    }


def archive(call: Call, key: str, expires: str) -> bytes:
    """The results as a tar.gz; 403 once the URL is too old, as the vendor's storage answers."""
    if not expires.isdigit() or int(expires) * 1000 < call.now:
        raise Problem(403, "Forbidden", "Request has expired")
    found = call.get("batch", key)
    if found.document["status"] != "finished":
        raise missing()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        raw = json.dumps(found.document["results"]).encode()
        entry = tarfile.TarInfo(f"{key}/{key}-0.json")
        entry.size = len(raw)
        tar.addfile(entry, io.BytesIO(raw))
    return gzip.compress(packed.getvalue(), mtime=0)
