"""Reads a stream as one file made by a bulk operation: run, poll, download in chunks, resume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from marketing_ops.errors import FatalError, RetryableError, StillRunningError
from marketing_ops.sources.base import Page, ReadRequest, Stream
from marketing_ops.sources.httpclient import DownloadGoneError
from marketing_ops.sources.shopify.client import ShopifyClient
from marketing_ops.sources.shopify.pages import search

MAX_LINE_BYTES = 8 * 1024 * 1024
"""A longer record is rejected; the start of it is kept for a look."""

_RUN = (
    "mutation($q:String!,$g:Boolean!){bulkOperationRunQuery(query:$q,groupObjects:$g)"
    "{bulkOperation{id status createdAt} userErrors{field code message}}}"
)
_POLL = (
    "query($id:ID!){bulkOperation(id:$id){id status errorCode objectCount rootObjectCount fileSize"
    " url partialDataUrl createdAt}}"
)
_KEPT_BYTES = 1024 * 1024
_FIRST_WAIT, _LONGEST_WAIT, _ASK_AGAIN = 0.05, 15.0, 60.0
_DOWNLOAD_TRIES = 5
_RECORDS_A_PAGE = 2000
_PARENT_MARK = b'"__parentId"'


def bulk_query(stream: Stream, request: ReadRequest) -> str:
    """The query of the bulk operation: all records, or those of the request's window."""
    api = stream.api
    window = "" if request.is_full else search(stream, request.since, request.until)
    text = window or api["filter"]
    nested = "".join(
        f" {name}{{edges{{node{{{fields}}}}}}}" for name, fields in api["connections"].items()
    )
    arguments = f"(query:{orjson.dumps(text).decode()})" if text else ""
    return f"{{{api['root']}{arguments}{{edges{{node{{{api['selection']}{nested}}}}}}}}}"


def read(shop: ShopifyClient, stream: Stream, request: ReadRequest) -> Iterator[Page]:
    """The file of a bulk operation in chunks of whole lines.

    A stream whose nested connections are streams of their own yields raw lines (children name
    their parent in `__parentId`); one that keeps them in its own row yields parsed records with
    the nested nodes put in place. `state` names the operation and the bytes that are read.

    Raises:
        RetryableError: the operation failed or its file expired; a later try runs a new one.
        FatalError: it is denied, or the file is not what the operation says.
    """
    operation, offset = _started(shop, stream, request)
    yield Page(state={"bulk": operation["id"], "bytes": offset}, has_more=True)
    operation = _finished(shop, operation, offset, request.patience)
    if not operation.get("url"):
        yield Page(expected=0, roots=0)
        return
    cut = _records if _embeds(stream) else _lines
    yield from cut(shop, stream, operation, offset)


def _embeds(stream: Stream) -> bool:
    """Whether nested connections belong into the record's own row."""
    return bool(stream.api["connections"]) and not stream.children


def _started(
    shop: ShopifyClient, stream: Stream, request: ReadRequest
) -> tuple[dict[str, Any], int]:
    resume = request.resume or {}
    if resume.get("bulk"):
        return {"id": resume["bulk"]}, int(resume.get("bytes", 0))
    # A record that takes its children into its own row needs them right behind it.
    variables = {"q": bulk_query(stream, request), "g": _embeds(stream)}
    operation = shop.mutate(_RUN, variables, "bulkOperationRunQuery").get("bulkOperation")
    if not operation:
        raise FatalError(f"`{shop.name}` runs no bulk operation and does not say why")
    return operation, 0


def _finished(
    shop: ShopifyClient, operation: dict[str, Any], offset: int, patience: float
) -> dict[str, Any]:
    """The operation once it is COMPLETED.

    Raises:
        StillRunningError: it is not after `patience` seconds.
    """
    waited = 0.0
    while True:
        found = shop.query(_POLL, {"id": operation["id"]}).get("bulkOperation")
        if not found:
            raise DownloadGoneError(f"`{shop.name}` no longer knows its bulk operation")
        status, code = found["status"], found.get("errorCode")
        if status == "COMPLETED":
            return dict(found)
        if status in ("CREATED", "RUNNING", "CANCELING"):
            # A tenth of what it took so far: the end is never noticed much later than that.
            wait = min(max(_FIRST_WAIT, waited / 10), _LONGEST_WAIT)
            if waited + wait > patience:
                raise StillRunningError(
                    f"`{shop.name}` still prepares the file ({found.get('objectCount') or 0}"
                    " records so far)",
                    retry_after=_ASK_AGAIN,
                    state=_state(operation, offset),
                )
            shop.http.sleep(wait)
            waited += wait
            continue
        if code == "ACCESS_DENIED":
            raise FatalError(
                f"`{shop.name}`: the bulk operation is denied: grant the app the stream's scope"
            )
        raise DownloadGoneError(
            f"`{shop.name}`: the bulk operation ended as {status} ({code or 'no code'});"
            " nothing of its part is taken, the next try runs a new one"
        )


def _lines(
    shop: ShopifyClient, stream: Stream, operation: dict[str, Any], offset: int
) -> Iterator[Page]:
    """Raw pages, cut before a record without a parent wherever there is one."""
    broken: list[tuple[str, bytes]] = []
    rest, at = b"", offset
    for start, block in _blocks(shop, operation, offset, broken):
        if start != at + len(rest):  # a record between them was put aside
            at += len(rest)
            yield Page(lines=rest, state=_state(operation, at), has_more=True)
            rest, at = b"", start
        rest += block
        cut = _family_end(rest)
        if cut:
            at += cut
            lines, rest = rest[:cut], rest[cut:]
            yield Page(lines=lines, broken=broken[:], state=_state(operation, at), has_more=True)
            broken.clear()
    total, roots = _counts(shop, operation)
    yield Page(lines=rest, broken=broken, expected=total, roots=roots)


def _family_end(block: bytes) -> int:
    """Where the last record without a parent starts in whole lines; their end if there is none.

    0 keeps the block for the next one: its only family may go on there.
    """
    end = len(block)
    while end > 0:
        start = block.rfind(b"\n", 0, end - 1) + 1
        if _PARENT_MARK not in block[start:end]:
            return start if start or len(block) < MAX_LINE_BYTES else len(block)
        end = start
    return len(block)


def _records(
    shop: ShopifyClient, stream: Stream, operation: dict[str, Any], offset: int
) -> Iterator[Page]:
    """Parsed records with their nested nodes in place; children stand behind their parent."""
    page, current = Page(has_more=True), None
    connection = next(iter(stream.api["connections"]))
    for start, block in _blocks(shop, operation, offset, page.broken):
        at = start
        for line in block.splitlines(keepends=True):
            record = _parsed(line, page.broken)
            if record is not None and "__parentId" in record:
                _place(shop, stream, current, record)
            elif record is not None:
                if len(page.records) >= _RECORDS_A_PAGE:
                    page.state = _state(operation, at)
                    yield Page(page.records, b"", page.broken[:], state=page.state, has_more=True)
                    page.records = []
                    page.broken.clear()
                record.setdefault(connection, {"nodes": []})
                page.records.append(record)
                current = record
            at += len(line)
    page.expected, page.roots = _counts(shop, operation)
    page.has_more = False
    yield page


def _parsed(line: bytes, broken: list[tuple[str, bytes]]) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        broken.append(("is not valid JSON", line.rstrip(b"\n")))
        return None
    if not isinstance(record, dict):
        broken.append(("is not an object", line.rstrip(b"\n")))
        return None
    return record


def _place(shop: ShopifyClient, stream: Stream, parent: Any, child: dict[str, Any]) -> None:
    """Put a nested node where a page has it: in its parent's one connection."""
    parent_id = child.pop("__parentId")
    if not isinstance(parent, dict) or parent.get("id") != parent_id:
        raise FatalError(
            f"`{shop.name}`: the file of {stream.name} is not grouped as it was asked to be"
        )
    connection = next(iter(stream.api["connections"]))
    nodes = parent.setdefault(connection, {"nodes": []})["nodes"]
    if stream.api["nested_page"] > 1 or not nodes:
        nodes.append(child)


def _state(operation: dict[str, Any], done: int) -> dict[str, Any]:
    return {"bulk": operation["id"], "bytes": done}


def _counts(shop: ShopifyClient, operation: dict[str, Any]) -> tuple[int, int]:
    try:
        total, roots = int(operation["objectCount"]), int(operation["rootObjectCount"])
    except (KeyError, TypeError, ValueError) as error:
        raise FatalError(f"`{shop.name}`: the bulk operation does not count its records") from error
    return total, roots


def _blocks(
    shop: ShopifyClient,
    operation: dict[str, Any],
    offset: int,
    broken: list[tuple[str, bytes]],
) -> Iterator[tuple[int, bytes]]:
    """(offset, whole lines) from byte `offset` on; a broken download goes on where it stopped.

    An overlong record is put aside into `broken`; memory stays bounded.
    """
    url, size = str(operation["url"]), operation.get("fileSize")
    rest, done, tries = b"", offset, 0
    while True:
        try:
            for chunk in shop.download(url, done):
                tries, done = 0, done + len(chunk)
                rest = rest + chunk if rest else chunk
                cut = rest.rfind(b"\n") + 1
                if cut:
                    block, rest = rest[:cut], rest[cut:]
                    yield done - len(rest) - cut, block
                elif len(rest) > MAX_LINE_BYTES:
                    rest, done = _put_aside(shop, url, rest, done, broken)
                    break  # the rest of the file is a download of its own
            else:
                break
        except DownloadGoneError:
            raise
        except RetryableError:
            tries += 1
            if tries >= _DOWNLOAD_TRIES:
                raise
            shop.http.sleep(0.2 * 2**tries)
    if size is not None and int(size) != done:
        raise RetryableError(f"the file of `{shop.name}` is cut: {done} of {size} bytes")
    if rest:
        yield done - len(rest), rest if rest.endswith(b"\n") else rest + b"\n"


def _put_aside(
    shop: ShopifyClient, url: str, start: bytes, done: int, broken: list[tuple[str, bytes]]
) -> tuple[bytes, int]:
    """Read past a record that is too long: what follows its end, and the bytes read so far."""
    length, kept, rest = len(start), start[:_KEPT_BYTES], b""
    for chunk in shop.download(url, done):
        done += len(chunk)
        cut = chunk.find(b"\n")
        if cut >= 0:
            length += cut
            rest = chunk[cut + 1 :]
            break
        length += len(chunk)
    broken.append((f"is too large ({length} bytes, the first {len(kept)} are kept)", kept))
    return rest, done
