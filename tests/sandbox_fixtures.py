"""One small sandbox for the whole test session, over real HTTP on free ports.

`pytest_plugins = ["tests.sandbox_fixtures"]` is set in tests/conftest.py: every test may ask for

- `sandbox_server`: the addresses, the control client (`SandboxServer`); its clock runs free.
- `sandbox_at`: the same with the clock held at the last day's noon; given back afterwards, faults
  and settings cleared. What a test writes into the shop stays there: compare with `truth`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3

from marketing_ops import clock

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "sandbox-small"
TOKEN = "shpat_sandbox"
HUBSPOT_TOKEN = "pat-na1-sandbox"
_SETTINGS = {
    "bucket": 2000.0,
    "restore_rate": 100.0,
    "bulk_delay_seconds": 0.0,
    "bulk_large": 5000,
}


@dataclass
class SandboxServer:
    """A running sandbox: base URLs, and a client of its control API."""

    base_url: str
    smtp_port: int
    clock_file: Path
    http: urllib3.PoolManager

    @property
    def shop_url(self) -> str:
        """The host of the shop's connection; the password is `token`."""
        return f"{self.base_url}/shopify"

    @property
    def graphql_url(self) -> str:
        """Where GraphQL is posted to."""
        return f"{self.shop_url}/admin/api/2026-10/graphql.json"

    @property
    def hubspot_url(self) -> str:
        """The host of HubSpot's connection; the password is `HUBSPOT_TOKEN`."""
        return f"{self.base_url}/hubspot"

    @property
    def token(self) -> str:
        """An access token that always works."""
        return TOKEN

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One control call; raises AssertionError unless it answers 2xx."""
        response = self.http.request(method, self.base_url + path, json=body)
        assert 200 <= response.status < 300, (path, response.status, response.data[:300])
        return json.loads(response.data)

    def graphql(self, query: str, variables: dict[str, Any] | None = None, **headers: str) -> Any:
        """One GraphQL answer, as JSON."""
        known = {"X-Shopify-Access-Token": TOKEN, **headers}
        body = {"query": query, "variables": variables or {}}
        return self.http.request("POST", self.graphql_url, json=body, headers=known).json()

    def set_clock(self, instant: datetime | None) -> dict[str, Any]:
        """Hold the clock of sandbox and tests at an instant; None lets it run again."""
        text = instant.isoformat() if instant else None
        return dict(self.call("POST", "/_sandbox/clock", {"now": text}))

    def fault(self, kind: str, system: str = "shopify", **options: Any) -> None:
        """Order one misbehaviour; see docs/sandbox.md for the kinds."""
        self.call("POST", "/_sandbox/faults", {"system": system, "kind": kind, **options})

    def requests(self, system: str = "shopify") -> list[dict[str, Any]]:
        """The requests noted so far."""
        return list(self.call("GET", f"/_sandbox/requests?system={system}"))

    def state(self) -> dict[str, Any]:
        """Counts by stream of what is visible at the clock."""
        return dict(self.call("GET", "/_sandbox/state"))

    def truth(self, stream: str) -> list[dict[str, Any]]:
        """The facts of each visible record of a stream."""
        response = self.http.request("GET", f"{self.base_url}/_sandbox/state/{stream}")
        assert response.status == 200, response.data[:300]
        return [json.loads(line) for line in response.data.splitlines()]

    def facts(self, system: str, stream: str) -> list[dict[str, Any]]:
        """The truth of a stream of another system than the shop."""
        url = f"{self.base_url}/_sandbox/{system}/truth/{stream}"
        response = self.http.request("GET", url)
        assert response.status == 200, response.data[:300]
        return [json.loads(line) for line in response.data.splitlines()]

    def act(self, system: str, action: str, **order: Any) -> dict[str, Any]:
        """A change in another system than the shop, at the clock: see docs/sandbox.md."""
        body = {"action": action, **order}
        return dict(self.call("POST", f"/_sandbox/{system}/records", body))

    def insert(self, kind: str, **fields: Any) -> str:
        """A new customer, order, product or checkout at the clock; returns its number."""
        body = {"action": "insert", "kind": kind, "fields": fields}
        return str(self.call("POST", "/_sandbox/shopify/records", body)["id"])

    def update(self, kind: str, key: str, **fields: Any) -> None:
        """A new version of a record at the clock."""
        body = {"action": "update", "kind": kind, "id": key, "fields": fields}
        self.call("POST", "/_sandbox/shopify/records", body)

    def delete(self, kind: str, key: str) -> None:
        """Remove a record at the clock."""
        body = {"action": "delete", "kind": kind, "id": key}
        self.call("POST", "/_sandbox/shopify/records", body)

    def configure(self, **settings: float) -> None:
        """Change the shop's settings: see docs/sandbox.md."""
        self.call("POST", "/_sandbox/shopify/settings", settings)

    def reset(self) -> None:
        """No faults, no noted requests, the usual settings, a free clock."""
        self.call("DELETE", "/_sandbox/faults")
        self.call("DELETE", "/_sandbox/requests")
        self.configure(**_SETTINGS)
        self.call("DELETE", "/_sandbox/hubspot/settings")
        clock.freeze(self.clock_file, None)


def start_sandbox(
    folder: Path, log: Path, *arguments: str
) -> tuple[subprocess.Popen[bytes], SandboxServer]:
    """Start a sandbox on free ports and wait for it; the caller terminates the process."""
    environment = {**os.environ, clock.CLOCK_FILE_VARIABLE: str(folder / "clock")}
    command = [sys.executable, "-m", "sandbox", "serve", "--port", "0", "--smtp-port", "0"]
    command += ["--data-dir", str(folder), *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    addresses: dict[str, str] = {}
    deadline = time.monotonic() + 120
    while "control" not in addresses:
        text = log.read_text(encoding="utf-8", errors="replace")
        addresses = dict(line.split(maxsplit=1) for line in text.splitlines() if "://" in line)
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"the sandbox did not start:\n{text}")
        time.sleep(0.05)
    base_url = addresses["shopify"].removesuffix("/shopify")
    smtp_port = int(addresses["smtp"].rpartition(":")[2])
    http = urllib3.PoolManager(retries=urllib3.Retry(connect=20, backoff_factor=0.05))
    server = SandboxServer(base_url, smtp_port, folder / "clock", http)
    server.state()
    return process, server


@pytest.fixture(scope="session")
def sandbox_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    """A running small sandbox; its seed is kept under .cache/ between sessions."""
    folder = tmp_path_factory.mktemp("sandbox")
    seed = [sys.executable, "-m", "sandbox", "serve", "--small", "--fresh", "--seed-only"]
    seed += ["--port", "0", "--data-dir", str(CACHE)]
    CACHE.parent.mkdir(exist_ok=True)
    with CACHE.with_suffix(".lock").open("w") as lock:
        # Two sessions at once share the cache.
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(seed, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        shutil.copytree(CACHE, folder, dirs_exist_ok=True)
    process, server = start_sandbox(folder, folder / "sandbox.log", "--small")
    yield server
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture
def sandbox_at(
    sandbox_server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SandboxServer]:
    """The sandbox with its clock, and this process's, held at today's noon in UTC."""
    monkeypatch.setenv(clock.CLOCK_FILE_VARIABLE, str(sandbox_server.clock_file))
    sandbox_server.reset()
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    sandbox_server.set_clock(noon)
    yield sandbox_server
    sandbox_server.reset()
