"""A static server on loopback that costs next to nothing: pages and files by `sendfile`.

    GET  /<set>/<rows>/contacts?after=<n>          100 contacts in HubSpot's page shape
    GET  /<set>/<rows>/contacts.jsonl              the same contacts as lines, Range honoured
    GET  /delay/<ms>/<set>/<rows>/contacts?...     the page so much later
    GET  /orders/<lines>/bulk.jsonl                orders with their lines
    POST /orders/<lines>/...                       the calls of a Shopify bulk operation

`python bench_sync_server.py FOLDER` serves what `bench_sync_data` wrote there; prints its port.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
from array import array
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

PAGE_ROWS = 100
_PATH = re.compile(r"(?:/delay/(\d+))?/(\w+)/(\d+)/([\w./-]+)(?:\?(?:.*&)?after=(\d+)|\?|$)")
_HEAD = b'{"results":['


class Server:
    """Answers each connection in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self) -> None:
        """Serve until the process is ended; prints the port first."""
        listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = listening.getsockname()[1]
        print(self.port, flush=True)
        while True:
            peer, _ = listening.accept()
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with peer, peer.makefile("rb") as asked:
            try:
                while line := asked.readline():
                    headers = _headers(asked)
                    size = int(headers.get(b"content-length", 0))
                    method, path, _ = line.decode().split(" ", 2)
                    self._answer(peer, method, path, headers, asked.read(size))
            except (ConnectionError, BrokenPipeError):
                return  # the reader went away

    def _answer(
        self, peer: socket.socket, method: str, path: str, headers: dict[bytes, bytes], body: bytes
    ) -> None:
        match = _PATH.match(path)
        if match is None:
            peer.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        delay, name, rows, what, after = match.groups()
        if delay:
            time.sleep(int(delay) / 1000)
        if method == "POST":
            _send(peer, self._bulk_operation(int(rows), body))
        elif name == "orders":
            self._file(peer, self.folder / f"orders-{rows}.jsonl", headers)
        elif what.endswith(".jsonl"):
            self._file(peer, self.folder / f"{name}-{rows}.jsonl", headers)
        else:
            self._page(peer, name, int(rows), int(after or 0))

    def _page(self, peer: socket.socket, name: str, rows: int, after: int) -> None:
        starts, file = _pages(self.folder / f"{name}-{rows}")
        start, end = starts[after // PAGE_ROWS], starts[after // PAGE_ROWS + 1] - 1
        after += PAGE_ROWS
        more = f',"paging":{{"next":{{"after":"{after}"}}}}}}' if after < rows else "}"
        tail = f"]{more}".encode()
        size = len(_HEAD) + end - start + len(tail)
        peer.sendall(_status(size) + _HEAD)
        _sendfile(peer, file, start, end)
        peer.sendall(tail)

    def _file(self, peer: socket.socket, path: Path, headers: dict[bytes, bytes]) -> None:
        asked = re.match(rb"bytes=(\d+)-", headers.get(b"range", b""))
        start, end = int(asked.group(1)) if asked else 0, path.stat().st_size
        peer.sendall(_status(end - start, 206 if asked else 200))
        with path.open("rb") as file:
            _sendfile(peer, file, start, end)

    def _bulk_operation(self, wanted: int, body: bytes) -> bytes:
        found: dict[str, Any] = {"id": "gid://shopify/BulkOperation/1", "status": "CREATED"}
        if b"bulkOperationRunQuery" in body:
            return _json({"bulkOperationRunQuery": {"bulkOperation": found, "userErrors": []}})
        path = self.folder / f"orders-{wanted}.jsonl"
        lines, orders = json.loads(path.with_suffix(".json").read_text())
        if b"ordersCount" in body:
            return _json({"ordersCount": {"count": orders, "precision": "EXACT"}})
        url = f"http://127.0.0.1:{self.port}/orders/{wanted}/bulk.jsonl"
        found |= {"status": "COMPLETED", "errorCode": None, "url": url, "partialDataUrl": None}
        found |= {"objectCount": str(lines + orders), "rootObjectCount": str(orders)}
        found |= {"fileSize": str(path.stat().st_size), "createdAt": "2026-01-01T00:00:00Z"}
        return _json({"bulkOperation": found})


@cache
def _pages(path: Path) -> tuple[array[int], BinaryIO]:
    starts = array("Q")
    starts.frombytes(path.with_name(f"{path.name}.index").read_bytes())
    return starts, path.with_name(f"{path.name}.array").open("rb")


def _headers(asked: BinaryIO) -> dict[bytes, bytes]:
    found = {}
    while (line := asked.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        found[name.lower()] = value.strip()
    return found


def _status(size: int, status: int = 200) -> bytes:
    return (
        f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    ).encode()


def _json(data: Any) -> bytes:
    return json.dumps({"data": data}).encode()


def _send(peer: socket.socket, body: bytes) -> None:
    peer.sendall(_status(len(body)) + body)


def _sendfile(peer: socket.socket, file: BinaryIO, start: int, end: int) -> None:
    while start < end:
        start += os.sendfile(peer.fileno(), file.fileno(), start, min(end - start, 1 << 20))


if __name__ == "__main__":
    Server(Path(sys.argv[1])).run()
