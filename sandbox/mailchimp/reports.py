"""Reports: what became of a campaign, in all and mail by mail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sandbox.mailchimp.activity import LINKS, Event, Mailing, summary
from sandbox.mailchimp.calls import Call, links, missing
from sandbox.mailchimp.names import iso, key_of, members
from sandbox.records import Version

NOBODY = {"merge": {}, "vip": False, "status": "archived"}


def listing(call: Call) -> Any:
    """The reports of the campaigns that were sent, newest first."""
    since, before = call.since("since_send_time"), call.since("before_send_time")
    found = [
        one
        for one in call.all("campaign")
        if one.document["status"] == "sent"
        and (since is None or one.document["sent"] > since)
        and (before is None or one.document["sent"] < before)
    ]
    found.sort(key=lambda one: (-one.document["sent"], one.key))
    shown = [_report(call, one) for one in call.page(found)]
    return {"reports": shown, "total_items": len(found), "_links": links("/reports")}


def one_report(call: Call, key: str) -> Any:
    """The report of one campaign."""
    return _report(call, _sent(call, key)[0])


def sent_to(call: Call, key: str) -> Any:
    """Who got it, and how often each opened it. No time: that is the campaign's."""
    found, mailing = _sent(call, key)

    def row(number: int, email: str) -> dict[str, Any]:
        opens = mailing.of(number, call.now, ("open",))
        bounces = mailing.of(number, call.now, ("bounce",))
        return {
            **_reader(call, found, number, email),
            "status": bounces[0].detail if bounces else "sent",
            "open_count": len(opens),
            "last_open": iso(max((one.at for one in opens), default=None)),
            "absplit_group": "",
            "gmt_offset": 0,
        }

    return _page(call, key, "sent_to", mailing.recipients, row)


def email_activity(call: Call, key: str) -> Any:
    """Opens, clicks and bounces by recipient; with `since` only those who did something later."""
    found, mailing = _sent(call, key)
    since, actions = call.since("since"), ("open", "click", "bounce")
    recipients = mailing.recipients
    if since is not None:
        recipients = [one for one in recipients if mailing.of(one[0], call.now, actions, since)]

    def row(number: int, email: str) -> dict[str, Any]:
        done = mailing.of(number, call.now, actions, since or 0)
        shown = _reader(call, found, number, email)
        for name in ("merge_fields", "vip", "contact_status"):
            shown.pop(name)
        return {**shown, "activity": [_action(one) for one in done]}

    return _page(call, key, "emails", recipients, row)


def open_details(call: Call, key: str) -> Any:
    """Who opened it and when, machines (`is_proxy_open`) told from people."""
    found, mailing = _sent(call, key)
    since = call.since("since") or 0
    readers = [one for one in mailing.recipients if mailing.of(one[0], call.now, ("open",), since)]
    every = [one for _, one in mailing.all(call.now, "open")]

    def row(number: int, email: str) -> dict[str, Any]:
        opens = mailing.of(number, call.now, ("open",), since)
        return {
            **_reader(call, found, number, email),
            "opens_count": len(opens),
            "proxy_excluded_opens_count": sum(1 for one in opens if not one.is_machine),
            "opens": [{"timestamp": iso(one.at), "is_proxy_open": one.is_machine} for one in opens],
        }

    return {
        **_page(call, key, "members", readers, row),
        "total_opens": len(every),
        "total_proxy_excluded_opens": sum(1 for one in every if not one.is_machine),
    }


def click_details(call: Call, key: str) -> Any:
    """The links of a campaign and how often each was clicked."""
    _, mailing = _sent(call, key)
    clicks = list(mailing.all(call.now, "click"))
    found = []
    for url in LINKS:
        own = [(number, one.at) for number, one in clicks if one.detail == url]
        people = {number for number, _ in own}
        found.append(
            {
                "id": _link_id(key, url),
                "url": url,
                "total_clicks": len(own),
                "click_percentage": len(own) / max(len(clicks), 1),
                "unique_clicks": len(people),
                "unique_click_percentage": len(people) / max(len({n for n, _ in clicks}), 1),
                "last_click": iso(max((at for _, at in own), default=None)),
                "campaign_id": key,
            }
        )
    shown = list(call.page(found))
    return {"urls_clicked": shown, "campaign_id": key, "total_items": len(found)}


def click_members(call: Call, key: str, link: str) -> Any:
    """Who clicked one link."""
    found, mailing = _sent(call, key)
    url = next((url for url in LINKS if _link_id(key, url) == link), None)
    if url is None:
        raise missing()
    counts = Counter(number for number, one in mailing.all(call.now, "click") if one.detail == url)
    readers = [one for one in mailing.recipients if one[0] in counts]

    def row(number: int, email: str) -> dict[str, Any]:
        shown = _reader(call, found, number, email)
        return {**shown, "clicks": counts[number], "url_id": link}

    return _page(call, key, "members", readers, row)


def unsubscribed(call: Call, key: str) -> Any:
    """Who unsubscribed because of this mail."""
    found, mailing = _sent(call, key)
    gone = dict(mailing.all(call.now, "unsubscribe"))
    readers = [one for one in mailing.recipients if one[0] in gone]

    def row(number: int, email: str) -> dict[str, Any]:
        one = gone[number]
        shown = _reader(call, found, number, email)
        return {**shown, "timestamp": iso(one.at), "reason": one.detail}

    return _page(call, key, "unsubscribes", readers, row)


def abuse_reports(call: Call, list_id: str) -> Any:
    """Who called a mail to an audience spam, oldest mailing first."""
    call.get("audience", list_id)
    found = []
    for one in call.all("campaign"):
        if one.document["list"] != list_id or one.document["status"] != "sent":
            continue
        mailing = _sent(call, one.key)[1]
        emails = dict(mailing.recipients)
        found += [(one, number, emails[number], e) for number, e in mailing.all(call.now, "abuse")]
    rows = [
        {
            **_reader(call, one, number, email),
            "id": int(key_of(f"{one.key}:{number}")[:7], 16),
            "date": iso(event.at),
        }
        for one, number, email, event in call.page(found)
    ]
    return {"abuse_reports": rows, "list_id": list_id, "total_items": len(found)}


def _page(
    call: Call,
    key: str,
    name: str,
    found: Sequence[tuple[int, str]],
    row: Callable[[int, str], dict[str, Any]],
) -> dict[str, Any]:
    rows = [row(*one) for one in call.page(found)]
    return {name: rows, "campaign_id": key, "total_items": len(found)}


def _sent(call: Call, key: str) -> tuple[Version, Mailing]:
    found = call.get("campaign", key)
    mailing = call.account.life.mailing(key)
    if found.document["status"] != "sent" or mailing is None:
        raise missing()
    return found, mailing


def _reader(call: Call, campaign: Version, number: int, email: str) -> dict[str, Any]:
    """Who a mail was sent to: the address of that moment, the fields of now."""
    list_id = campaign.document["list"]
    found = call.account.records.get(members(list_id), str(number), call.now)
    known = found.document if found else NOBODY
    return {
        "campaign_id": campaign.key,
        "list_id": list_id,
        "list_is_active": True,
        "contact_status": known["status"],
        "email_id": key_of(email),
        "email_address": email,
        "merge_fields": known["merge"],
        "vip": known["vip"],
    }


def _action(one: Event) -> dict[str, Any]:
    found = {"action": one.action, "timestamp": iso(one.at)}
    if one.action == "bounce":
        return {**found, "type": one.detail}
    found |= {"ip": "198.51.100.7"}
    return {**found, "url": one.detail} if one.action == "click" else found


def _link_id(campaign: str, url: str) -> str:
    return key_of(f"{campaign}:{url}")[:10]


def _report(call: Call, one: Version) -> dict[str, Any]:
    found, mailing = _sent(call, one.key)
    counts = summary(mailing, call.now)
    sent = max(counts["sent"], 1)
    return {
        "id": one.key,
        "campaign_title": found.document["title"],
        "type": "regular",
        "list_id": found.document["list"],
        "list_is_active": True,
        "subject_line": found.document["subject"],
        "emails_sent": counts["sent"],
        "abuse_reports": 0,
        "unsubscribed": counts["unsubscribed"],
        "send_time": iso(found.document["sent"]),
        "bounces": {
            "hard_bounces": counts["hard"],
            "soft_bounces": counts["soft"],
            "syntax_errors": 0,
        },
        "opens": {
            "opens_total": counts["opens"],
            "proxy_excluded_opens": counts["human_opens"],
            "unique_opens": counts["unique_opens"],
            "proxy_excluded_unique_opens": counts["unique_human_opens"],
            "open_rate": counts["unique_opens"] / sent,
            "last_open": iso(counts["last_open"]),
        },
        "clicks": {
            "clicks_total": counts["clicks"],
            "unique_clicks": counts["unique_clicks"],
            "unique_subscriber_clicks": counts["clickers"],
            "click_rate": counts["clickers"] / sent,
            "last_click": iso(counts["last_click"]),
        },
        "_links": links(f"/reports/{one.key}"),
    }
