"""The sandbox's HubSpot account, what we hold of it, and the truth to compare that with."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from marketing_ops import clock, settings
from marketing_ops.connections import Connection
from marketing_ops.paths import INCLUDE_VARIABLE
from marketing_ops.sources.hubspot import client as clients
from marketing_ops.sources.hubspot.source import HUBSPOT
from marketing_ops.sync.reconcile import ReconcileReport, reconcile_stream
from marketing_ops.sync.runner import SyncReport, sync_stream
from marketing_ops.warehouse import Warehouse
from marketing_ops.window import Window
from tests.sandbox_fixtures import SandboxServer
from tests.sync.conftest import include_copy

ACCOUNT = "hubspot_test"
STREAMS = tuple(stream.name for stream in HUBSPOT.streams)
TOKEN = "pat-na1-sandbox"
FAST = {"burst": 10_000_000, "burst_oauth": 10_000_000, "search_per_second": 10_000_000}


class Account:
    """An account of the sandbox at the held clock."""

    def __init__(self, db: Warehouse, server: SandboxServer) -> None:
        self.db, self.server = db, server
        self.url = f"{server.base_url}/hubspot"
        self.connection = Connection(ACCOUNT, host=self.url, password=TOKEN)

    def client(self, quota_share: float = 1.0) -> clients.HubSpotClient:
        """A client that does not sleep."""
        return clients.HubSpotClient(self.connection, quota_share, sleep=lambda _seconds: None)

    def sync(self, stream: str, **options: Any) -> SyncReport:
        """One run; its books balance."""
        window = options.pop("window", None) or Window(clock.now(), clock.now())
        report = sync_stream(self.db, ACCOUNT, stream, window, resolve=self._resolve, **options)
        assert report.balanced
        return report

    def sync_all(self) -> None:
        """One run of each stream."""
        for stream in STREAMS:
            self.sync(stream)

    def compare(self, stream: str = "contacts") -> ReconcileReport:
        """The nightly comparison with repair."""
        return reconcile_stream(self.db, ACCOUNT, stream, resolve=self._resolve)

    def _resolve(self, _conn_id: str) -> Connection:
        return self.connection

    def change(self, action: str, kind: str, key: str = "", **options: Any) -> str:
        """Change something at the clock; returns the id."""
        body = {"action": action, "kind": kind, "id": key, **options}
        return str(self.server.call("POST", "/_sandbox/hubspot/records", body).get("id"))

    def bulk(self, kind: str, count: int, **fields: Any) -> dict[str, Any]:
        """Many objects of one instant."""
        body = {"action": "bulk", "kind": kind, "count": count, "fields": fields}
        return dict(self.server.call("POST", "/_sandbox/hubspot/records", body))

    def configure(self, **values: Any) -> None:
        """Turn the portal's settings."""
        self.server.call("POST", "/_sandbox/hubspot/settings", values)

    def fault(self, kind: str, **options: Any) -> None:
        """Order one misbehaviour."""
        self.server.fault(kind, system="hubspot", **options)

    def later(self, **delta: float) -> None:
        """Move the clock on."""
        self.server.set_clock(clock.now() + timedelta(**delta))

    def row(self, table: str, key: str, *columns: str) -> tuple[Any, ...] | None:
        """Some columns of a raw row."""
        query = f"select {', '.join(columns)} from mkt_raw.hubspot__{table} where id = %s"
        found = self.db.execute(query.encode(), (key,)).fetchone()
        return tuple(found) if found else None

    def held(self, stream: str) -> list[tuple[Any, ...]]:
        """Our rows in the terms of the truth."""
        return sorted((tuple(row) for row in self.db.execute(HELD[stream]).fetchall()), key=str)

    def truth(self, stream: str) -> list[tuple[Any, ...]]:
        """What the portal knows to be true."""
        path = f"{self.server.base_url}/_sandbox/hubspot/truth/{stream}"
        response = self.server.http.request("GET", path)
        rows = [json.loads(line) for line in response.data.splitlines()]
        found = [tuple(_fact(row, name) for name in TRUE[stream]) for row in rows]
        return sorted(found if stream != "list_members" else self._static(found), key=str)

    def _static(self, members: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        lists = {key for key, _, kind, *_ in self.truth("lists") if kind != "DYNAMIC"}
        return [member for member in members if member[0] in lists]

    def check(self, *streams: str) -> None:
        """Our rows are the portal's, row for row."""
        for stream in streams or TRUE:
            assert self.held(stream) == self.truth(stream), stream


TRUE: dict[str, tuple[str, ...]] = {
    "contacts": (
        "id",
        "created_at",
        "updated_at",
        "merged_ids",
        "properties.email",
        "properties.firstname",
        "properties.city",
        "properties.lifecyclestage",
        "properties.hubspot_owner_id",
    ),
    "companies": (
        "id",
        "updated_at",
        "properties.name",
        "properties.domain",
        "properties.numberofemployees",
        "properties.annualrevenue",
    ),
    "deals": (
        "id",
        "created_at",
        "updated_at",
        "properties.dealname",
        "properties.dealstage",
        "properties.amount",
        "properties.closed_lost_reason",
        "links.contacts",
        "links.companies",
    ),
    "deal_stages": ("deal_id", "stage_id", "entered_at"),
    "pipelines": ("id", "name"),
    "stages": ("id", "pipeline_id", "name", "position", "probability", "is_closed"),
    "owners": ("id", "email", "firstName", "lastName", "team", "is_active"),
    "lists": ("id", "name", "kind", "size"),
    "list_members": ("list_id", "contact_id", "added_at"),
    "consents": ("contact_id", "subscription_id", "status", "changed_at"),
    "email_events": ("id", "created", "type", "recipient", "campaign"),
}
HELD = {
    "contacts": b"select id, created_at, updated_at,"
    b" coalesce(string_to_array(merged_ids, ';'), '{}'), email, first_name, city,"
    b" lifecycle_stage, owner_id from mkt_raw.hubspot__contacts where not is_deleted",
    "companies": b"select id, updated_at, name, domain, employees::text, revenue::text"
    b" from mkt_raw.hubspot__companies where not is_deleted",
    "deals": b"select id, created_at, updated_at, name, stage_id, amount::text, lost_reason,"
    b" contact_ids, case when company_id is null then '{}' else array[company_id] end"
    b" from mkt_raw.hubspot__deals where not is_deleted",
    "deal_stages": b"select deal_id, stage_id, entered_at from mkt_raw.hubspot__deal_stages s"
    b" where not is_deleted and exists (select 1 from mkt_raw.hubspot__deals d"
    b" where d.id = s.deal_id and not d.is_deleted)",
    "pipelines": b"select id, name from mkt_raw.hubspot__pipelines where not is_deleted",
    "stages": b"select id, pipeline_id, name, position, probability::float8, is_closed"
    b" from mkt_raw.hubspot__stages where not is_deleted",
    "owners": b"select id, email, first_name, last_name, teams -> 0 ->> 'name', not is_archived"
    b" from mkt_raw.hubspot__owners where not is_deleted",
    "lists": b"select id, name, kind, size from mkt_raw.hubspot__lists where not is_deleted",
    "list_members": b"select list_id, contact_id, added_at from mkt_raw.hubspot__list_members"
    b" where not is_deleted",
    "consents": b"select contact_id, subscription_id::int, status, changed_at"
    b" from mkt_raw.hubspot__consents where not is_deleted and status <> 'NOT_SPECIFIED'",
    "email_events": b"select split_part(id, ':', 2),"
    b" (extract(epoch from created_at) * 1000)::bigint, type, recipient, campaign_id::int"
    b" from mkt_raw.hubspot__email_events",
}


def _fact(row: dict[str, Any], path: str) -> Any:
    value: Any = row
    for name in path.split("."):
        value = value.get(name)
    if path.startswith("links."):
        return value or []
    if path.endswith(("_at", "at")) and isinstance(value, str):
        return datetime.fromisoformat(value)
    return value


def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: SandboxServer) -> None:
    """An account file, and limits that nobody waits for."""
    include = include_copy(tmp_path)
    (include / "sources" / f"{ACCOUNT}.yaml").write_text(
        f"source: {ACCOUNT}\nsystem: hubspot\nconnection: {ACCOUNT}\nbrand: journey\n"
        f"streams: {{{', '.join(f'{name}: hourly' for name in STREAMS)}}}\n"
        "pool_slots: 4\nquota_share: 100%\n"
    )
    monkeypatch.setenv(INCLUDE_VARIABLE, str(include))
    settings.settings.cache_clear()
    monkeypatch.setattr(clients, "SEARCHES_PER_SECOND", 1e6)
    monkeypatch.setattr(clients, "SAFE_SEARCHES_PER_SECOND", 1e6)
    monkeypatch.setattr(clients, "CALLS_PER_SECOND", 1e6)
    server.call("DELETE", "/_sandbox/hubspot/settings")
    server.call("POST", "/_sandbox/hubspot/settings", FAST)
