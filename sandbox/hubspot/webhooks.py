"""Webhooks: signed posts of what the clock has passed, in batches, in no particular order."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

import urllib3

from sandbox.hashing import number
from sandbox.hubspot import PORTAL, properties
from sandbox.hubspot.crm import Crm
from sandbox.hubspot.objects import properties_singular
from sandbox.records import Change

KINDS = ("contacts", "companies", "deals")
BATCH, ATTEMPTS = 100, 10
TIMEOUT = urllib3.Timeout(connect=1.0, read=5.0)
Event = dict[str, Any]


@dataclass
class _Batch:
    """Events for one subscriber and how often they were posted."""

    url: str
    events: list[Event]
    attempts: int = 0


class Webhooks:
    """Delivers what happened since the last call; what was refused is posted again, ten times."""

    def __init__(self, crm: Crm) -> None:
        self.crm = crm
        self.seen = crm.now()
        self.waiting: list[_Batch] = []
        self._told: set[int] = set()
        self.http = urllib3.PoolManager(timeout=TIMEOUT, retries=False)

    def deliver(self) -> int:
        """Post what the clock has passed since the last call; returns the events accepted."""
        now = self.crm.now()
        since, self.seen = self.seen, now
        subscriptions = self.crm.settings.subscriptions
        if subscriptions and now >= since:
            # The last instant again: something may have happened in it after the last call.
            changes = self.crm.records.changes(KINDS, since - 1, now)
            found = [event for one in changes for event in self._events(one)]
            events = [event for event in found if event["eventId"] not in self._told]
            self._told = {one["eventId"] for one in found if one["occurredAt"] == now}
            # HubSpot promises no order; this one has nothing to do with time.
            events.sort(key=lambda event: number(event["eventId"]))
            for one in subscriptions:
                types = one.get("types")
                wanted = [e for e in events if not types or e["subscriptionType"] in types]
                for place in range(0, len(wanted), BATCH):
                    self.waiting.append(_Batch(one["url"], wanted[place : place + BATCH]))
        return self._post_all(now)

    def _post_all(self, now: int) -> int:
        accepted = 0
        batches, self.waiting = self.waiting, []
        for batch in batches:
            if self._post(batch, now):
                accepted += len(batch.events)
                continue
            batch.attempts += 1
            if batch.attempts < ATTEMPTS:
                self.waiting.append(batch)
        return accepted

    def _post(self, batch: _Batch, now: int) -> bool:
        events = [{**event, "attemptNumber": batch.attempts} for event in batch.events]
        raw = json.dumps(events, ensure_ascii=False).encode()
        secret = self.crm.settings.client_secret.encode()
        signed = b"POST" + batch.url.encode() + raw + str(now).encode()
        digest = hmac.new(secret, signed, hashlib.sha256).digest()
        headers = {
            "content-type": "application/json",
            "X-HubSpot-Signature-v3": base64.b64encode(digest).decode(),
            "X-HubSpot-Request-Timestamp": str(now),
            "X-HubSpot-Signature-Version": "v1",
            "X-HubSpot-Signature": hashlib.sha256(secret + raw).hexdigest(),
        }
        try:
            status = self.http.request("POST", batch.url, body=raw, headers=headers).status
        except urllib3.exceptions.HTTPError:
            return False
        return 200 <= status < 300

    def _events(self, change: Change) -> list[Event]:
        """The events of one new version: made, gone, merged, back, or the properties changed."""
        before, after = change.before, change.after
        if after is None:
            went = self.crm.records.get("merged", f"{change.kind}:{change.key}", change.at)
            into = went.document["into"] if went else None
            if went is None:
                return [self._event(change, "deletion")]
            if into is None:
                kind = "privacyDeletion" if change.kind == "contacts" else "deletion"
                return [self._event(change, kind)]
            more = {"newObjectId": int(into), "mergedObjectIds": [int(change.key)]}
            return [{**self._event(change, "merge"), **more}]
        if before is None:
            is_new = not self.crm.records.history(change.kind, change.key, change.at - 1)
            return [self._event(change, "creation" if is_new else "restore")]
        old, new = before["properties"], after["properties"]
        skipped = (properties.modified(change.kind), "hs_object_id")
        return [
            {
                **self._event(change, "propertyChange", name),
                "propertyName": name,
                "propertyValue": new.get(name, ""),
            }
            for name in {**old, **new}
            if old.get(name) != new.get(name) and name not in skipped
        ]

    def _event(self, change: Change, what: str, name: str = "") -> Event:
        kind = f"{properties_singular(change.kind)}.{what}"
        unique = number("webhook", change.kind, change.key, change.at, what, name)
        return {
            "eventId": unique % 10_000_000_000,
            "subscriptionId": number("subscription", kind) % 1_000_000,
            "portalId": PORTAL,
            "appId": 113,
            "occurredAt": change.at,
            "subscriptionType": kind,
            "attemptNumber": 0,
            "objectId": int(change.key),
            "changeSource": "CRM_UI",
        }
