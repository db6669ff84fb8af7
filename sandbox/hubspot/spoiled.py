"""Answers that went wrong on their way: what a fault makes of a good one."""

from __future__ import annotations

import json
import zlib
from typing import Any

import orjson

from sandbox.faults import Fault, Faults

_NAN, _BYTES = '"@@not a number@@"', '"@@no utf-8@@"'
_MONEY, _TEXT = ("amount", "annualrevenue"), ("firstname", "dealname", "name")


def spoil(faults: Faults, system: str, text: str, body: Any, asked: bytes) -> bytes:
    """The bytes of an answer, spoilt if that was ordered."""

    def ordered(kind: str) -> Fault | None:
        return faults.take(system, kind, text)

    if ordered("drop_page") and isinstance(body, dict) and body.get("results"):
        body = {**body, "results": []}
    if ordered("stuck_cursor") and isinstance(body, dict) and "paging" in body:
        after = _after(text, asked)
        body = {**body, "paging": {"next": {"after": after or body["paging"]["next"]["after"]}}}
    nan, utf8, huge = ordered("nan"), ordered("bad_utf8"), ordered("huge_record")
    if nan is not None:
        body = _changed(body, nan, _MONEY, json.loads(_NAN))
    if utf8 is not None:
        body = _changed(body, utf8, _TEXT, json.loads(_BYTES))
    if huge is not None:
        size = int(huge.options.get("bytes", 50_000_000))
        body = _changed(body, huge, _TEXT, "x" * size)
    raw = orjson.dumps(body)
    raw = raw.replace(_NAN.encode(), b"NaN").replace(_BYTES.encode(), b'"\xff\xfe"')
    return raw[: len(raw) // 2] if ordered("bad_json") else raw


def bomb(size: int) -> bytes:
    """Blanks that gzip to a thousandth of their size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = b" " * 1_000_000
    return b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()


def _changed(body: Any, fault: Fault, names: tuple[str, ...], value: Any) -> Any:
    """The body with one field of one record replaced (`place`, `property`)."""
    key = "results" if "results" in body else "events"
    rows = list(body.get(key) or ())
    place = int(fault.options.get("place", 0))
    if place >= len(rows):
        return body
    row = dict(rows[place])
    values = row.get("properties", row)
    name = str(fault.options.get("property") or next((n for n in names if n in values), names[0]))
    if "properties" in row:
        row["properties"] = {**row["properties"], name: value}
    else:
        row[name] = value
    rows[place] = row
    return {**body, key: rows}


def _after(text: str, asked: bytes) -> str | None:
    """The page token of a request, from its query or its body."""
    _, found, rest = text.partition("after=")
    if found and not asked:
        return rest.split("&")[0].split(" ")[0]
    try:
        given = json.loads(asked)
    except ValueError:
        return None
    after = given.get("after") if isinstance(given, dict) else None
    return str(after) if after else None
