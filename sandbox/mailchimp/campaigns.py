"""Campaigns, the automation and the customer journey."""

from __future__ import annotations

from typing import Any

from sandbox.mailchimp.activity import summary
from sandbox.mailchimp.calls import Call, Problem, invalid, links, missing
from sandbox.mailchimp.documents import campaign, send
from sandbox.mailchimp.names import instant, iso, key_of
from sandbox.mailchimp.segments import emails_of
from sandbox.records import Version

AUTOMATION = "c0ffee1234"
JOURNEY, STEP = "2001", "31001"


def listing(call: Call) -> Any:
    """The campaigns, oldest first unless `sort_dir` says DESC."""
    found = [one for one in call.all("campaign") if _is_asked(call, one)]
    name = {"send_time": "sent", "create_time": "created"}.get(call.query.get("sort_field", ""))
    found.sort(key=lambda one: (one.document[name or "created"] or 0, one.key))
    if call.query.get("sort_dir", "ASC").upper() == "DESC":
        found.reverse()
    return {
        "campaigns": [shown(call, one) for one in call.page(found)],
        "total_items": len(found),
        "_links": links("/campaigns"),
    }


def _is_asked(call: Call, one: Version) -> bool:
    known, query = one.document, call.query
    for name, since, before in (
        ("sent", call.since("since_send_time"), call.since("before_send_time")),
        ("created", call.since("since_create_time"), call.since("before_create_time")),
    ):
        at = known[name]
        if since is not None and (at is None or at <= since):
            return False
        if before is not None and (at is None or at >= before):
            return False
    return query.get("status") in (None, known["status"]) and query.get("list_id") in (
        None,
        known["list"],
    )


def one_campaign(call: Call, key: str) -> Any:
    """One campaign."""
    return shown(call, call.get("campaign", key))


def create(call: Call) -> Any:
    """A campaign that waits to be sent."""
    if call.body.get("type") != "regular":
        raise invalid("The value is not valid.", "type", "Only `regular` is served here.")
    given = call.body.get("recipients") or {}
    list_id = str(given.get("list_id", ""))
    call.get("audience", list_id)
    known = len(call.all("campaign")) + len(call.account.records.gone("campaign", call.now))
    key = key_of(f"campaign:{call.now}:{known}")[:10]
    made = _filled(call, campaign(list_id, "", "", call.now))
    call.account.records.put("campaign", key, call.now, made)
    return shown(call, call.get("campaign", key))


def change(call: Call, key: str) -> Any:
    """Other settings or recipients, while it was not sent."""
    _waiting(call, key)
    call.account.edit("campaign", key, call.now, lambda known: _filled(call, known))
    return shown(call, call.get("campaign", key))


def _filled(call: Call, known: dict[str, Any]) -> dict[str, Any]:
    settings, given = call.body.get("settings") or {}, call.body.get("recipients") or {}
    segment = (given.get("segment_opts") or {}).get("saved_segment_id")
    return {
        **known,
        "title": settings.get("title", known["title"]),
        "subject": settings.get("subject_line", known["subject"]),
        "segment": str(segment) if segment else known["segment"],
    }


def remove(call: Call, key: str) -> None:
    """Delete a campaign."""
    call.get("campaign", key)
    call.account.records.put("campaign", key, call.now, None)


def content(call: Call, key: str) -> Any:
    """Take or show what the mail says; nothing of it is kept but its length."""
    call.get("campaign", key)
    html = str(call.body.get("html") or "") if isinstance(call.body, dict) else ""
    return {"html": html, "plain_text": "", "_links": links(f"/campaigns/{key}/content")}


def schedule(call: Call, key: str) -> None:
    """Say when it is sent: at a quarter of an hour in the future."""
    _check_ready(call, _waiting(call, key))
    at = instant(call.text("schedule_time"))
    if at <= call.now or at % 900_000:
        raise Problem(400, "Bad Request", "Campaigns are scheduled on the quarter-hour, ahead.")
    status = {"status": "schedule", "sent": at}
    call.account.edit("campaign", key, call.now, lambda known: {**known, **status})


def unschedule(call: Call, key: str) -> None:
    """Take it back."""
    if call.get("campaign", key).document["status"] != "schedule":
        raise Problem(400, "Bad Request", "This campaign is not scheduled.")
    status = {"status": "save", "sent": None}
    call.account.edit("campaign", key, call.now, lambda known: {**known, **status})


def send_now(call: Call, key: str) -> None:
    """Send a campaign; there is no second time."""
    found = _waiting(call, key)
    _check_ready(call, found)
    _send(call, found, call.now)


def send_due(call: Call) -> None:
    """Send what was scheduled for a time that has come."""
    for one in call.all("campaign"):
        if one.document["status"] == "schedule" and one.document["sent"] <= call.now:
            _send(call, one, one.document["sent"])


def _check_ready(call: Call, found: Version) -> None:
    known = found.document
    if not known["subject"] or not emails_of(call, known["list"], known["segment"]):
        raise Problem(400, "Bad Request", "Your Campaign is not ready to send.")


def _send(call: Call, found: Version, at: int) -> None:
    known = found.document
    reached = [one.document for one in emails_of(call, known["list"], known["segment"])]
    call.account.records.put_many(send(found.key, known, reached, at))
    call.account.life.sent(found.key)


def _waiting(call: Call, key: str) -> Version:
    found = call.get("campaign", key)
    if found.document["status"] not in ("save", "paused"):
        raise Problem(400, "Bad Request", "Cannot send or change a campaign that was sent.")
    return found


def shown(call: Call, one: Version) -> dict[str, Any]:
    """A campaign as the API shows it."""
    known = one.document
    audience = call.account.records.get("audience", known["list"], call.now)
    mailing = call.account.life.mailing(one.key) if known["status"] == "sent" else None
    found = {
        "id": one.key,
        "web_id": int(one.key[:6], 16),
        "type": "regular",
        "create_time": iso(known["created"]),
        "status": known["status"],
        "emails_sent": known.get("emails", 0),
        "send_time": iso(known["sent"]),
        "content_type": "template",
        "recipients": {
            "list_id": known["list"],
            "list_is_active": audience is not None,
            "list_name": audience.document["name"] if audience else "",
            "segment_text": "",
            "recipient_count": known.get("emails", 0),
        },
        "settings": {
            "subject_line": known["subject"],
            "title": known["title"],
            "from_name": audience.document["company"] if audience else "",
            "reply_to": "news@example.com",
        },
        "tracking": {"opens": True, "html_clicks": True, "text_clicks": False},
        "delivery_status": {"enabled": False},
        "_links": links(f"/campaigns/{one.key}"),
    }
    if mailing is not None:
        counts = summary(mailing, call.now)
        sent = max(counts["sent"], 1)
        found["report_summary"] = {
            "opens": counts["opens"],
            "unique_opens": counts["unique_opens"],
            "open_rate": counts["unique_opens"] / sent,
            "clicks": counts["clicks"],
            "subscriber_clicks": counts["clickers"],
            "click_rate": counts["clickers"] / sent,
        }
    return found


# -- automations ----------------------------------------------------------------------------------


def automations(call: Call) -> Any:
    """The one classic automation there is."""
    found = [
        {
            "id": AUTOMATION,
            "create_time": iso(call.all("audience")[0].created_at),
            "start_time": iso(call.all("audience")[0].created_at),
            "status": "sending",
            "emails_sent": 0,
            "recipients": {"list_id": call.all("audience")[0].key},
            "settings": {"title": "Welcome", "from_name": "", "reply_to": "news@example.com"},
            "_links": links(f"/automations/{AUTOMATION}"),
        }
    ]
    return {"automations": list(call.page(found)), "total_items": 1}


def trigger(call: Call, journey: str, step: str) -> None:
    """Let a subscribed contact go on in a journey. Each call counts: there is no idempotency."""
    if (journey, step) != (JOURNEY, STEP):
        raise missing()
    email = call.text("email_address")
    found = [call.account.member(one.key, email, call.now) for one in call.all("audience")]
    if not any(one is not None and one.document["status"] == "subscribed" for one in found):
        raise Problem(400, "Bad Request", "The contact is not subscribed to this audience.")
    place = len(call.all("trigger"))
    kept = {"hash": key_of(email), "journey": journey, "step": step}
    call.account.records.put("trigger", f"{place:08d}", call.now, kept)
