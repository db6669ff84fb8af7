"""Which path, without its version, is answered by what, and the scope an app needs for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from sandbox.hubspot import account, batches, engagement, links, lists, objects, properties, search
from sandbox.hubspot.answers import Answer

Handler = Callable[..., Answer]
VERSION = re.compile(r"/(v[1-4]|2026-03|2026-09|2026-09-beta)(?=/|$)")
ANY_VERSION = re.compile(r"/(v\d+|\d{4}-\d{2}(-beta)?)(?=/|$)")


class Found(NamedTuple):
    """A handler and what it takes from the path."""

    handle: Handler
    arguments: tuple[str, ...]


_O, _A, _L = "/crm/objects/{}", "/crm/associations/{}/{}/batch", "/crm/lists/{}/memberships"
_C, _M = "/communication-preferences", "/marketing/emails"
_TABLE: tuple[tuple[str, str, Handler], ...] = (
    ("GET", _O, objects.listed),
    ("POST", _O, objects.created),
    ("POST", f"{_O}/search", search.search),
    ("POST", f"{_O}/merge", objects.merged),
    ("POST", f"{_O}/gdpr-delete", objects.erased),
    ("POST", f"{_O}/batch/read", batches.read),
    ("POST", f"{_O}/batch/create", batches.create),
    ("POST", f"{_O}/batch/update", batches.update),
    ("POST", f"{_O}/batch/upsert", batches.upsert),
    ("POST", f"{_O}/batch/archive", batches.archive),
    ("GET", f"{_O}/{{}}", objects.got),
    ("PATCH", f"{_O}/{{}}", objects.changed),
    ("DELETE", f"{_O}/{{}}", objects.archived),
    ("GET", f"{_O}/{{}}/associations/{{}}", links.of_one),
    ("PUT", f"{_O}/{{}}/associations/{{}}/{{}}", links.put_one),
    ("PUT", f"{_O}/{{}}/associations/default/{{}}/{{}}", links.put_one),
    ("DELETE", f"{_O}/{{}}/associations/{{}}/{{}}", links.remove_one),
    ("POST", f"{_A}/read", links.read),
    ("POST", f"{_A}/create", links.create),
    ("POST", f"{_A}/associate/default", links.create),
    ("POST", f"{_A}/archive", links.archive),
    ("GET", "/crm/properties/{}", objects.described),
    ("GET", "/crm/owners", account.owners),
    ("GET", "/crm/owners/{}", account.owner),
    ("GET", "/crm/pipelines/{}", account.pipelines),
    ("GET", "/crm/pipelines/{}/{}", account.pipeline),
    ("GET", "/crm/pipelines/{}/{}/stages", account.stages),
    ("POST", "/crm/lists/search", lists.searched),
    ("GET", "/crm/lists", lists.several),
    ("POST", "/crm/lists", lists.created),
    ("GET", "/crm/lists/{}", lists.got),
    ("GET", _L, lists.members),
    ("GET", f"{_L}/join-order", lists.members_by_time),
    ("PUT", f"{_L}/add", lists.added),
    ("PUT", f"{_L}/remove", lists.removed),
    ("PUT", f"{_L}/add-and-remove", lists.added_and_removed),
    ("GET", "/crm/lists/records/{}/{}/memberships", lists.of_record),
    ("GET", f"{_C}/definitions", engagement.definitions),
    ("POST", f"{_C}/statuses/batch/read", engagement.status_batch),
    ("POST", f"{_C}/statuses/batch/write", engagement.said_batch),
    ("GET", f"{_C}/statuses/{{}}", engagement.statuses),
    ("POST", f"{_C}/statuses/{{}}", engagement.said),
    ("POST", f"{_C}/statuses/{{}}/unsubscribe-all", engagement.unsubscribed_all),
    ("GET", f"{_C}/status/email/{{}}", engagement.status_v3),
    ("POST", f"{_C}/subscribe", engagement.said_v3),
    ("POST", f"{_C}/unsubscribe", engagement.said_v3),
    ("GET", "/email/public/events", engagement.events),
    ("GET", "/email/public/campaigns/{}", engagement.campaign),
    ("GET", _M, engagement.emails),
    ("GET", f"{_M}/statistics/list", engagement.statistics),
    ("GET", f"{_M}/{{}}", engagement.email),
    ("POST", "/marketing/transactional/single-email/send", engagement.single_send),
    ("GET", "/marketing/email/send-statuses/{}", engagement.send_status),
    ("GET", "/account-info/details", account.details),
)


def _compiled() -> list[tuple[str, re.Pattern[str], Handler]]:
    # Paths with more fixed words come first: /crm/lists/search is no list of the id `search`.
    rows = sorted(_TABLE, key=lambda row: (row[1].count("{}"), -len(row[1])))
    return [(m, re.compile(p.replace("{}", "([^/]+)") + "$"), h) for m, p, h in rows]


_ROUTES = _compiled()


def plain(path: str) -> str | None:
    """A path without its version, wherever that stands; None when the version is not served."""
    given = ANY_VERSION.search(path)
    if given is None or VERSION.fullmatch(given.group(0)) is None:
        return None
    return (path[: given.start()] + path[given.end() :]).rstrip("/")


def find(method: str, path: str) -> Found | None:
    """What answers a plain path."""
    for known, pattern, handle in _ROUTES:
        match = pattern.match(path) if known == method else None
        if match is not None:
            return Found(handle, match.groups())
    return None


def scope(method: str, path: str) -> str | None:
    """The scope that a call needs; None: any token will do."""
    words = path.split("/")[1:]
    is_read = method == "GET" or path.endswith(("/search", "/read"))
    what = "read" if is_read else "write"
    match words:
        case ["crm", "objects" | "properties" | "associations", kind, *_]:
            by_id = {type_id: name for name, type_id in properties.TYPE_IDS.items()}
            name = by_id.get(kind, properties.SINGULAR.get(kind, kind))
            known = name if name in ("companies", "deals") else "contacts"
            return f"crm.objects.{known}.{what}"
        case ["crm", "owners", *_]:
            return "crm.objects.owners.read"
        case ["crm", "pipelines", *_]:
            return "crm.schemas.deals.read"
        case ["crm", "lists", *_]:
            return f"crm.lists.{what}"
        case ["communication-preferences", *_]:
            return f"communication_preferences.{what}"
        case ["email", *_]:
            return "content"
        case ["marketing", "emails", *_]:
            return "marketing-email"
        case ["marketing", *_]:
            return "transactional-email"
    return None
