"""Consents, e-mail events, marketing e-mails, single sends."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import Any

from sandbox.hashing import number
from sandbox.hubspot import consents, mailings
from sandbox.hubspot.answers import Answer, Ask, RefusedError, not_found
from sandbox.hubspot.batches import finished
from sandbox.hubspot.consents import SUBSCRIPTIONS
from sandbox.hubspot.values import instant, iso
from sandbox.records import Version

EVENTS = 1000


def definitions(ask: Ask) -> Answer:
    """`GET /communication-preferences/{version}/definitions`."""
    found = [
        {
            "id": str(key),
            "name": name,
            "description": description,
            "purpose": purpose,
            "communicationMethod": "Email",
            "isActive": True,
            "isDefault": False,
            "isInternal": False,
            "createdAt": iso(0),
            "updatedAt": iso(0),
        }
        for key, (name, description, purpose) in SUBSCRIPTIONS.items()
    ]
    answer = finished(ask, found)
    # v3, which the SDK asks, has another name for them.
    answer.body["subscriptionDefinitions"] = found
    return answer


def statuses(ask: Ask, email: str) -> Answer:
    """`GET …/statuses/{email}`: one for each subscription type."""
    _channel(ask.query.get("channel"))
    return finished(ask, _all(ask, email))


def status_batch(ask: Ask) -> Answer:
    """`POST …/statuses/batch/read`: up to 100 addresses."""
    _channel(ask.body.get("channel") or ask.query.get("channel"))
    results = [
        {"subscriberIdString": str(email), "statuses": _all(ask, str(email))}
        for email in ask.inputs()
    ]
    return finished(ask, results)


def said(ask: Ask, email: str) -> Answer:
    """`POST …/statuses/{email}`."""
    return finished(ask, [_say(ask, email, ask.body)])


def said_batch(ask: Ask) -> Answer:
    """`POST …/statuses/batch/write`."""
    results, errors = [], []
    for one in ask.inputs():
        try:
            results.append(_say(ask, str(one.get("subscriberIdString")), one))
        except RefusedError as error:
            wrong = {"status": "error", "category": error.category, "message": error.message}
            context = {"subscriberIdString": [str(one.get("subscriberIdString"))]}
            errors.append({**wrong, "context": context, "errors": [], "links": {}})
    return finished(ask, results, errors)


def unsubscribed_all(ask: Ask, email: str) -> Answer:
    """`POST …/statuses/{email}/unsubscribe-all`."""
    for key in SUBSCRIPTIONS:
        consents.say(ask.crm, email, key, "UNSUBSCRIBED", ask.now)
    return finished(ask, _all(ask, email))


def status_v3(ask: Ask, email: str) -> Answer:
    """`GET /communication-preferences/v3/status/email/{email}`, as the SDK asks it."""
    found = [
        {
            "id": str(one["subscriptionId"]),
            "name": one["subscriptionName"],
            "description": SUBSCRIPTIONS[one["subscriptionId"]][1],
            "status": one["status"].replace("UNSUBSCRIBED", "NOT_SUBSCRIBED"),
            "sourceOfStatus": "SUBSCRIPTION_STATUS",
            "legalBasis": one["legalBasis"],
            "legalBasisExplanation": one["legalBasisExplanation"],
        }
        for one in _all(ask, email)
        if one["status"] != "NOT_SPECIFIED"
    ]
    return Answer({"recipient": email, "subscriptionStatuses": found})


def said_v3(ask: Ask) -> Answer:
    """`POST /communication-preferences/v3/subscribe` and `unsubscribe`."""
    state = "SUBSCRIBED" if ask.path.endswith("/subscribe") else "UNSUBSCRIBED"
    email, key = ask.field("emailAddress", str), ask.field("subscriptionId", str)
    given = {**ask.body, "statusState": state, "channel": "EMAIL", "subscriptionId": int(key)}
    shown = _say(ask, email, given)
    body = {
        "id": key,
        "name": shown["subscriptionName"],
        "description": SUBSCRIPTIONS[int(key)][1],
        "status": state.replace("UNSUBSCRIBED", "NOT_SUBSCRIBED"),
        "sourceOfStatus": "SUBSCRIPTION_STATUS",
        "legalBasis": shown["legalBasis"],
        "legalBasisExplanation": shown["legalBasisExplanation"],
    }
    return Answer(body)


def _channel(value: Any) -> None:
    if value != "EMAIL":
        raise RefusedError(400, "channel must be EMAIL")


def _all(ask: Ask, email: str) -> list[dict[str, Any]]:
    return [consents.shown(ask.crm, email, key, ask.now) for key in SUBSCRIPTIONS]


def _say(ask: Ask, email: str, given: dict[str, Any]) -> dict[str, Any]:
    key, state, basis = (given.get(n) for n in ("subscriptionId", "statusState", "legalBasis"))
    _channel(given.get("channel"))
    if key not in SUBSCRIPTIONS:
        raise RefusedError(400, "the subscription type does not exist")
    if state not in consents.STATES or (basis is not None and basis not in consents.BASES):
        raise RefusedError(400, "statusState or legalBasis is not one of the known ones")
    if (basis is None) != (given.get("legalBasisExplanation") is None):
        raise RefusedError(400, "legalBasis and legalBasisExplanation are needed together")
    said_before = consents.shown(ask.crm, email, key, ask.now)["status"]
    consents.say(
        ask.crm,
        email,
        key,
        state,
        ask.now,
        basis=basis,
        explanation=given.get("legalBasisExplanation"),
    )
    reason = "NO_STATUS_CHANGE" if said_before == state else "REQUESTED_CHANGE_OCCURRED"
    return {**consents.shown(ask.crm, email, key, ask.now), "setStatusSuccessReason": reason}


# -- e-mail activity ------------------------------------------------------------------------------


def events(ask: Ask) -> Answer:
    """`GET /email/public/v1/events`: newest first within a window of ms; (created, id) is the key.

    `startTimestamp` is within the window, `endTimestamp` is not.
    """
    try:
        start = int(ask.query.get("startTimestamp") or 0)
        end = int(ask.query.get("endTimestamp") or ask.now + 1)
        skipped = int(ask.query.get("offset") or 0)
    except ValueError as error:
        raise RefusedError(400, "timestamps and offset are whole numbers") from error
    limit, kind = ask.number("limit", 10, EVENTS), ask.query.get("eventType")
    who, campaign = ask.query.get("recipient"), ask.query.get("campaignId")
    rows = ask.crm.email_events(ask.now)
    first = bisect_right(rows, -end, key=lambda one: -one["created"])
    last = bisect_right(rows, -start, key=lambda one: -one["created"])
    found = [
        one
        for one in rows[first:last]
        if kind in (None, one["type"])
        and who in (None, one["recipient"])
        and campaign in (None, str(one["emailCampaignId"]))
    ]
    page = found[skipped : skipped + limit]
    body = {
        "hasMore": skipped + limit < len(found),
        "offset": str(skipped + len(page)),
        "events": [{k: v for k, v in one.items() if k != "is_machine"} for one in page],
    }
    return Answer(body)


def campaign(ask: Ask, key: str) -> Answer:
    """`GET /email/public/v1/campaigns/{id}`: the name of a mailing."""
    at = next((at for at in _sent(ask) if str(mailings.email_id(at)) == key), None)
    if at is None:
        raise not_found()
    name = mailings.subject(at)
    return Answer({"id": int(key), "appId": 113, "appName": "Batch", "name": name, "subject": name})


def _sent(ask: Ask) -> list[int]:
    """The instants of the mailings of the last 120 days."""
    return list(mailings.between(ask.now - 120 * 86_400_000, ask.now))


def emails(ask: Ask) -> Answer:
    """`GET /marketing/emails`: the mailings; `includeStats=true` with their figures."""
    after, since = int(ask.query.get("after") or 0), ask.query.get("updatedAfter")
    limit = ask.number("limit", 10, 100)
    times = [at for at in _sent(ask) if not since or at > instant(since)]
    page = times[after : after + limit]
    body: dict[str, Any] = {"total": len(times), "results": [_email(ask, at) for at in page]}
    if after + limit < len(times):
        body["paging"] = {"next": {"after": str(after + limit)}}
    return Answer(body)


def email(ask: Ask, key: str) -> Answer:
    """`GET /marketing/emails/{id}`."""
    at = next((at for at in _sent(ask) if str(mailings.email_id(at)) == key), None)
    if at is None:
        raise not_found()
    return Answer(_email(ask, at))


def _email(ask: Ask, at: int) -> dict[str, Any]:
    key = str(mailings.email_id(at))
    found: dict[str, Any] = {
        "id": key,
        "name": mailings.subject(at),
        "subject": mailings.subject(at),
        "state": "PUBLISHED",
        "type": "BATCH_EMAIL",
        "isAb": False,
        "isPublished": True,
        "isTransactional": False,
        "archived": False,
        "primaryEmailCampaignId": key,
        "allEmailCampaignIds": [key],
        "createdAt": iso(at),
        "updatedAt": iso(at),
        "publishDate": iso(at),
        "publishedAt": iso(at),
    }
    if ask.flag("includeStats"):
        found["stats"] = _figures(ask, [key])
    return found


def statistics(ask: Ask) -> Answer:
    """`GET /marketing/emails/statistics/list`."""
    wanted, known = ask.words("emailIds"), [str(mailings.email_id(at)) for at in _sent(ask)]
    ids = [key for key in known if not wanted or key in wanted]
    each = {key: _figures(ask, [key]) for key in ids}
    body = {
        "aggregate": _figures(ask, ids),
        "campaignAggregations": each,
        "emails": [int(key) for key in ids],
    }
    return Answer(body)


def _figures(ask: Ask, ids: list[str]) -> dict[str, Any]:
    names = {"SENT": "sent", "DELIVERED": "delivered", "OPEN": "open", "CLICK": "click"}
    counts: Counter[str] = Counter()
    for one in _events_of(ask, ids):
        counts[names.get(one.document["type"], "bounce")] += 1
    delivered = counts["delivered"] or 1
    ratios = {f"{name}ratio": counts[name] * 100 / delivered for name in ("open", "click")}
    return {"counters": counts, "ratios": ratios, "deviceBreakdown": {}, "qualifierStats": {}}


def _events_of(ask: Ask, ids: list[str]) -> list[Version]:
    rows = ask.crm.records.all("email_event", ask.now)
    return [one for one in rows if str(one.document["emailCampaignId"]) in ids]


def single_send(ask: Ask) -> Answer:
    """`POST /marketing/transactional/single-email/send`: a known `sendId` sends nothing again."""
    message, key = ask.field("message", dict), ask.field("emailId", int)
    if not message.get("to") or "@" not in str(message["to"]):
        raise RefusedError(400, "message.to is missing")
    unique = str(message.get("sendId") or f"{ask.now}:{number(message['to'], key)}")
    known = ask.crm.records.get("send", unique, ask.now)
    status_id = f"{number('send', unique):016x}"
    at = iso(ask.now)
    if known is not None:
        done = {"status": "COMPLETE", "sendResult": "IDEMPOTENT_IGNORE"}
        return Answer({"statusId": status_id, **done, "requestedAt": at, "completedAt": at})
    document = {"to": message["to"], "email": key, "status_id": status_id}
    ask.crm.records.put("send", unique, ask.now, document)
    return Answer({"statusId": status_id, "status": "PENDING", "requestedAt": at})


def send_status(ask: Ask, status_id: str) -> Answer:
    """`GET /marketing/email/send-statuses/{id}`."""
    rows = ask.crm.records.all("send", ask.now)
    one = next((row for row in rows if row.document["status_id"] == status_id), None)
    if one is None:
        raise not_found()
    at = iso(one.at)
    done = {"status": "COMPLETE", "sendResult": "SENT", "requestedAt": at, "completedAt": at}
    return Answer({"statusId": status_id, **done})
