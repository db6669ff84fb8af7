"""The mutations we use. What the shop refuses comes back as `userErrors`, with HTTP 200."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from typing import Any

from graphql import GraphQLError

from sandbox.shopify import bulk, changes, records
from sandbox.shopify.fields import asked, gid, plain
from sandbox.shopify.paging import MAX_PAGE, Page, cut
from sandbox.shopify.roots import key_of, subscription
from sandbox.shopify.world import Run, seconds
from sandbox.zones import iso

MAX_BULKS = 5
TAGGED = {"Customer": "customer", "Order": "order", "Product": "product"}


def _error(message: str, *field: str, **more: Any) -> dict[str, Any]:
    return {"field": list(field) or None, "message": message, **more}


def _tagged(run: Run, identifier: str, tags: list[str], *, add: bool) -> dict[str, Any]:
    if len(tags) > MAX_PAGE:
        raise GraphQLError(f"The input array size of {len(tags)} is greater than the maximum")
    kind, key = key_of(identifier)
    name = TAGGED.get(kind)
    row = records.find(run, name, key) if name else None
    if name is None or row is None:
        return {"node": None, "userErrors": [_error(f"{kind} does not exist", "id")]}
    known = _tags(run, kind, key, row)
    wanted = [tag.strip() for one in tags for tag in one.split(",") if tag.strip()]
    lower = {tag.lower() for tag in (known if add else wanted)}
    if add:
        new = [*known, *(tag for tag in dict.fromkeys(wanted) if tag.lower() not in lower)]
    else:
        new = [tag for tag in known if tag.lower() not in lower]
    if new != known:
        changes.revise(run.world, name, key, run.now, {"patch": {"tags": sorted(new)}})
    return {"node": records.KINDS[kind](run, key), "userErrors": []}


def _tags(run: Run, kind: str, key: int, row: tuple[Any, ...]) -> list[str]:
    from sandbox.shopify.fields import PLAIN

    tags: list[str] = PLAIN[kind, "tags"](records.KINDS[kind](run, key, row))
    return tags


@asked("Mutation", "tagsAdd")
def _tags_add(_root: None, run: Run, id: str, tags: list[str]) -> dict[str, Any]:  # noqa: A002
    return _tagged(run, id, tags, add=True)


@asked("Mutation", "tagsRemove")
def _tags_remove(_root: None, run: Run, id: str, tags: list[str]) -> dict[str, Any]:  # noqa: A002
    return _tagged(run, id, tags, add=False)


@asked("Mutation", "customerEmailMarketingConsentUpdate")
def _consent(_root: None, run: Run, input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
    _, key = key_of(input["customerId"])
    consent = input["emailMarketingConsent"]
    at = _instant(consent.get("consentUpdatedAt")) or run.now
    values = {"consent": consent["marketingState"], "consent_at": at}
    if consent["marketingState"] in ("NOT_SUBSCRIBED", "REDACTED", "INVALID"):
        return {
            "customer": None,
            "userErrors": [_error("Marketing state is invalid", "input", code="INVALID")],
        }
    if not changes.revise(run.world, "customer", key, run.now, values):
        error = _error("Customer not found", "input", "customerId", code="INVALID")
        return {"customer": None, "userErrors": [error]}
    return {"customer": records.Customer(run, key), "userErrors": []}


# -- discounts ------------------------------------------------------------------------------------


@asked("Mutation", "discountCodeBasicCreate")
def _discount(_root: None, run: Run, basicCodeDiscount: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
    given = basicCodeDiscount
    missing = [
        name for name in ("code", "title", "startsAt", "customerGets") if not given.get(name)
    ]
    errors = [
        _error(f"{name} can't be blank", "basicCodeDiscount", name, code="BLANK", extraInfo=None)
        for name in missing
    ]
    if "customerSelection" in given and "context" in given:
        message = "Only one of context and customerSelection can be provided"
        errors.append(
            _error(message, "basicCodeDiscount", "context", code="INVALID", extraInfo=None)
        )
    if errors:
        return {"codeDiscountNode": None, "userErrors": errors}
    document = {**given, "startsAt": _iso(given["startsAt"]), "endsAt": _iso(given.get("endsAt"))}
    try:
        with run.world.write_lock:
            key = run.world.writer.execute(
                "insert into discounts (at, code, document) values (?, ?, ?)",
                (run.now, given["code"].upper(), json.dumps(document, default=str)),
            ).lastrowid
    except sqlite3.IntegrityError:
        error = _error(
            "Code must be unique. Please try a different code.",
            "basicCodeDiscount",
            "code",
            code="TAKEN",
            extraInfo=None,
        )
        return {"codeDiscountNode": None, "userErrors": [error]}
    node = {"key": key, "at": run.now, **document}
    return {"codeDiscountNode": node, "userErrors": []}


plain(
    "DiscountCodeNode",
    id=lambda one: gid("DiscountCodeNode", one["key"]),
    codeDiscount=lambda one: one,
)
plain(
    "DiscountCodeBasic",
    status=lambda one: "ACTIVE",
    usageLimit=lambda one: one.get("usageLimit"),
    createdAt=lambda one: iso(one["at"]),
    updatedAt=lambda one: iso(one["at"]),
)
plain(
    "DiscountRedeemCode",
    id=lambda one: gid("DiscountRedeemCode", one["key"]),
    code=lambda one: one["code"],
    asyncUsageCount=lambda one: 0,
)


@asked("DiscountCodeBasic", "codes")
def _codes(
    one: dict[str, Any], _run: Run, first: int | None = None, after: str | None = None
) -> Page:
    return cut([one], first, after)


def _instant(value: Any) -> int | None:
    if value is None:
        return None
    return seconds(datetime.fromisoformat(str(value).replace("Z", "+00:00")))


def _iso(value: Any) -> str | None:
    at = _instant(value)
    return iso(at) if at is not None else None


# -- bulk operations and webhooks -----------------------------------------------------------------


@asked("Mutation", "bulkOperationRunQuery")
def _bulk_run(_root: None, run: Run, query: str, groupObjects: bool) -> dict[str, Any]:  # noqa: N803
    running = [one for one in run.world.bulks.values() if one.status in ("CREATED", "RUNNING")]
    if len(running) >= MAX_BULKS:
        message = "A bulk query operation for this app and shop is already in progress: 5 of 5."
        error = _error(message, code="OPERATION_IN_PROGRESS")
        return {"bulkOperation": None, "userErrors": [error]}
    problem = bulk.check(query)
    if problem:
        error = _error(problem, "query", code="INVALID")
        return {"bulkOperation": None, "userErrors": [error]}
    found = bulk.start(run.world, query, run.now, is_grouped=groupObjects)
    return {"bulkOperation": found, "userErrors": []}


@asked("Mutation", "bulkOperationCancel")
def _bulk_cancel(_root: None, run: Run, id: str) -> dict[str, Any]:  # noqa: A002
    found = run.world.bulks.get(key_of(id)[1])
    if found is None:
        return {"bulkOperation": None, "userErrors": [_error("does not exist", "id")]}
    if found.status not in ("CREATED", "RUNNING"):
        message = f"A bulk operation cannot be canceled when it is {found.status.lower()}"
        return {"bulkOperation": found, "userErrors": [_error(message, "id")]}
    found.status = "CANCELING"
    return {"bulkOperation": found, "userErrors": []}


@asked("Mutation", "webhookSubscriptionCreate")
def _subscribe(
    _root: None,
    run: Run,
    topic: str,
    webhookSubscription: dict[str, Any],  # noqa: N803
) -> dict[str, Any]:
    given = webhookSubscription
    uri = given.get("uri") or given.get("callbackUrl")
    if not uri:
        error = _error("Address can't be blank", "webhookSubscription", "uri")
        return {"webhookSubscription": None, "userErrors": [error]}
    rows = run.rows("select 1 from subscriptions where topic = ? and uri = ?", (topic, uri))
    if rows:
        message = "Address for this topic has already been taken"
        error = _error(message, "webhookSubscription", "uri")
        return {"webhookSubscription": None, "userErrors": [error]}
    with run.world.write_lock:
        key = run.world.writer.execute(
            "insert into subscriptions (at, topic, uri) values (?, ?, ?)", (run.now, topic, uri)
        ).lastrowid
    return {"webhookSubscription": subscription(key or 0, run.now, topic, uri), "userErrors": []}


@asked("Mutation", "webhookSubscriptionDelete")
def _unsubscribe(_root: None, run: Run, id: str) -> dict[str, Any]:  # noqa: A002
    with run.world.write_lock:
        found = run.world.writer.execute(
            "delete from subscriptions where id = ?", (key_of(id)[1],)
        ).rowcount
    if not found:
        error = _error("Webhook subscription does not exist", "id")
        return {"deletedWebhookSubscriptionId": None, "userErrors": [error]}
    return {"deletedWebhookSubscriptionId": id, "userErrors": []}
