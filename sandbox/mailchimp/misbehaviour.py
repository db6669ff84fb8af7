"""What the account does wrong on demand: at the edge, instead of an answer, or in an answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from sandbox.faults import Faults
from sandbox.mailchimp.calls import Problem

SYSTEM = "mailchimp"
THROTTLED = Problem(
    429, "Too Many Requests", "You have exceeded the limit of 10 simultaneous connections."
)
TITLES = {
    400: "Bad Request",
    401: "API Key Invalid",
    403: "Forbidden",
    404: "Resource Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
OFFSET = re.compile(r"offset=(\d+)&?")
EDGE = {
    403: "<html><head><title>Access Denied</title></head><body>Access Denied</body></html>",
    429: "<html><head><title>429</title></head><body>Too Many Requests</body></html>",
}
FIRST_NUMBER = re.compile(rb'(":)-?\d+(?:\.\d+)?(?=[,}])')
FIRST_TEXT = re.compile(rb'("(?:FNAME|email_address|title|name)":")')


async def before(faults: Faults, text: str) -> Response | Problem | None:
    """What is answered instead, without a look at the call; None: nothing of the kind."""
    take = faults.take
    if fault := take(SYSTEM, "slow", text):
        await asyncio.sleep(float(fault.options.get("seconds", 1)))
    if take(SYSTEM, "drop_connection", text):
        return StreamingResponse(_nothing(), headers={"content-length": "1000"})
    if fault := take(SYSTEM, "redirect", text):
        return RedirectResponse(fault.options.get("to", "https://elsewhere.example/3.0/"), 302)
    for status, page in EDGE.items():
        # From the edge in front of the API: no JSON, no request id.
        if take(SYSTEM, f"html{status}", text):
            return HTMLResponse(page, status)
    if take(SYSTEM, "throttle", text):
        return THROTTLED
    if fault := take(SYSTEM, "status", text):
        status = int(fault.options.get("status", 500))
        detail = str(fault.options.get("detail", "An unexpected internal error has occurred."))
        return Problem(status, TITLES.get(status, "Error"), detail)
    return None


def after(faults: Faults, text: str, body: bytes, last: dict[str, tuple[int, bytes]]) -> bytes:
    """The answer, spoiled where a fault asks for it; `last` holds the last page of each list."""
    found = OFFSET.search(text)
    place, pages = int(found[1]) if found else 0, OFFSET.sub("", text)
    before = last.get(pages)
    # Only a page further up can come again: the answer to another question, nobody could tell.
    if before and before[0] < place and faults.take(SYSTEM, "repeat_page", text):
        return before[1]
    last[pages] = place, body
    if faults.take(SYSTEM, "bad_json", text):
        return body[: len(body) // 2]
    if faults.take(SYSTEM, "nan", text):
        start = max(body.find(b"[{"), 0)
        return body[:start] + FIRST_NUMBER.sub(rb"\1NaN", body[start:], count=1)
    if faults.take(SYSTEM, "bad_utf8", text):
        return FIRST_TEXT.sub(b"\\1\xff\xfe", body, count=1)
    if fault := faults.take(SYSTEM, "huge_record", text):
        size = int(fault.options.get("bytes", 50_000_000))
        return body.replace(b"[{", b'[{"note":"' + b"x" * size + b'",', 1)
    return body


async def _nothing() -> AsyncIterator[bytes]:
    """A body that ends before it began: the connection is cut."""
    yield b""
