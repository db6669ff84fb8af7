"""Webhooks: validated by GET when made, posted as forms, signed since the newer kind, retried."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import urllib3

from sandbox.mailchimp.account import Account
from sandbox.mailchimp.calls import Call, invalid, links, missing
from sandbox.mailchimp.names import key_of, members
from sandbox.records import Change, Document, Version

EVENTS = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign")
SOURCES = ("user", "admin", "api")
RETRIES = (0, 1, 5, 15, 35, 75)
"""Minutes after the event at which a post is tried."""
TIMEOUT = urllib3.Timeout(connect=2.0, read=10.0)


# -- the API --------------------------------------------------------------------------------------


def listing(call: Call, list_id: str) -> Any:
    """The webhooks of an audience, without their secrets."""
    call.get("audience", list_id)
    found = [one for one in call.all("webhook") if one.document["list"] == list_id]
    shown = [_shown(one) for one in found]
    return {"webhooks": shown, "list_id": list_id, "total_items": len(shown)}


def one_webhook(call: Call, list_id: str, key: str) -> Any:
    """One webhook, without its secret."""
    return _shown(_required(call, list_id, key))


def create(call: Call, list_id: str) -> Any:
    """A webhook, once its URL answered a GET. Only this answer shows the secret."""
    call.get("audience", list_id)
    url = call.text("url")
    if any(
        (one.document["list"], one.document["url"]) == (list_id, url) for one in call.all("webhook")
    ):
        raise invalid("Sorry, you can't set up multiple WebHooks for one URL", "url", "Duplicate")
    _validate(url)
    key = key_of(f"webhook:{list_id}:{url}:{call.now}")[:10]
    secret = key_of(f"secret:{key}") if call.account.settings.signs_webhooks else None
    kept = {"list": list_id, "url": url, "secret": secret, **_wanted(call.body, {}, {})}
    call.account.records.put("webhook", key, call.now, kept)
    made = _shown(call.get("webhook", key))
    return made | ({"signing_secret": secret} if secret else {})


def change(call: Call, list_id: str, key: str) -> Any:
    """Another URL, other events or sources."""
    known = _required(call, list_id, key).document
    url = call.body.get("url") or known["url"]
    if url != known["url"]:
        _validate(url)
    wanted = _wanted(call.body, known["events"], known["sources"])
    call.account.records.put("webhook", key, call.now, {**known, "url": url, **wanted})
    return _shown(call.get("webhook", key))


def remove(call: Call, list_id: str, key: str) -> None:
    """Delete a webhook."""
    _required(call, list_id, key)
    call.account.records.put("webhook", key, call.now, None)


def _wanted(body: Any, events: Document, sources: Document) -> Document:
    return {
        "events": {
            name: bool((body.get("events") or {}).get(name, events.get(name, False)))
            for name in EVENTS
        },
        "sources": {
            name: bool((body.get("sources") or {}).get(name, sources.get(name, False)))
            for name in SOURCES
        },
    }


def _validate(url: str) -> None:
    try:
        status = urllib3.request("GET", url, timeout=TIMEOUT, retries=False).status
    except urllib3.exceptions.HTTPError:
        status = 599
    if not 200 <= status < 300:
        raise invalid(f"The provided URL could not be validated: it answered {status}.")


def _required(call: Call, list_id: str, key: str) -> Version:
    found = call.get("webhook", key)
    if found.document["list"] != list_id:
        raise missing()
    return found


def _shown(one: Version) -> dict[str, Any]:
    known = one.document
    shown = {name: known[name] for name in ("url", "events", "sources")}
    path = f"/lists/{known['list']}/webhooks/{one.key}"
    return {"id": one.key, **shown, "list_id": known["list"], "_links": links(path)}


# -- deliveries -----------------------------------------------------------------------------------


@dataclass
class _Post:
    due: int
    fired_at: int
    webhook: str
    body: str
    tries: int = 0


class Webhooks:
    """Posts what happened since the last call, and again what was not accepted."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._seen: int | None = None
        self._told: set[tuple[str, str, int]] = set()
        """The changes of the last instant looked at: while the clock stands, more may come."""
        self._posts: list[_Post] = []
        self._lock = threading.Lock()
        self._http = urllib3.PoolManager(timeout=TIMEOUT, retries=False)

    def deliver(self) -> int:
        """Post what is due by the clock; returns the posts accepted."""
        with self._lock:
            now = self.account.now()
            hooks = {one.key: one.document for one in self.account.records.all("webhook", now)}
            since, self._seen = self._seen if self._seen is not None else now, now
            if hooks and now >= since:
                self._posts += self._news(hooks, since, now)
            due = [one for one in self._posts if one.due <= now]
            self._posts = [one for one in self._posts if one.due > now]
            return sum(self._post(one, hooks, now) for one in due)

    def _news(self, hooks: dict[str, Document], since: int, now: int) -> Iterator[_Post]:
        lists = {one["list"] for one in hooks.values()}
        kinds = [*(members(list_id) for list_id in lists), "campaign"]
        told, self._told = self._told, set()
        for change in self.account.records.changes(kinds, since - 1, now):
            name = (change.kind, change.key, change.at)
            if change.at == now:
                self._told.add(name)
            if name in told:
                continue
            for event, source, list_id, data in _events(change):
                for key, hook in hooks.items():
                    is_wanted = hook["events"][event] and (
                        event == "campaign" or hook["sources"][source]
                    )
                    if hook["list"] == list_id and is_wanted:
                        yield _Post(change.at, change.at, key, _form(event, change.at, data))

    def _post(self, one: _Post, hooks: dict[str, Document], now: int) -> int:
        """1 when the post was accepted; else it comes again, as long as there are retries."""
        hook = hooks.get(one.webhook)
        if hook is None:
            return 0
        headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "MailChimp"}
        if hook["secret"]:
            headers["X-Mailchimp-Signature"] = signature(hook["secret"], now // 1000, one.body)
        try:
            status = self._http.request(
                "POST", hook["url"], body=one.body.encode(), headers=headers
            ).status
        except urllib3.exceptions.HTTPError:
            status = 599
        if 200 <= status < 300:
            return 1
        one.tries += 1
        if one.tries < len(RETRIES):
            one.due = max(now + 1, one.fired_at + RETRIES[one.tries] * 60_000)
            self._posts.append(one)
        return 0


def signature(secret: str, at: int, body: str) -> str:
    """`t=…,v1=…` over the instant (epoch seconds) and the raw body."""
    digest = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _form(event: str, at: int, data: dict[str, Any]) -> str:
    fired = f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    merges = {f"data[merges][{name}]": value for name, value in data.pop("merges", {}).items()}
    fields = {f"data[{name}]": value for name, value in data.items()}
    return urlencode({"type": event, "fired_at": fired, **fields, **merges})


def _events(change: Change) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(event, source, audience, data) of what one change means."""
    old, new = change.before, change.after
    if change.kind == "campaign":
        if new is not None and new["status"] == "sent" and (old or new)["status"] != "sent":
            data = {"id": change.key, "subject": new["subject"], "status": "sent", "reason": ""}
            yield "campaign", "user", new["list"], {**data, "list_id": new["list"]}
        return
    known = new or old
    if known is None:
        return
    list_id, source = known["list"], known["by"] if new else "admin"
    before, after = old["status"] if old else "", new["status"] if new else ""
    data = {
        "id": known["hash"],
        "email": known["email"],
        "email_type": "html",
        "ip_opt": known["ip"],
        "web_id": known["n"],
        "list_id": list_id,
        "merges": {"EMAIL": known["email"], **known["merge"]},
    }
    if after == "subscribed" != before:
        yield "subscribe", source, list_id, dict(data)
    elif before == "subscribed" and after in ("unsubscribed", "archived", ""):
        action = "unsub" if after == "unsubscribed" else "delete"
        yield "unsubscribe", source, list_id, {**data, "action": action, "reason": "manual"}
    elif after == "cleaned" != before:
        yield "cleaned", source, list_id, {"list_id": list_id, "reason": "hard", **_only(data)}
    if old and new and old["hash"] != new["hash"]:
        moved = {"list_id": list_id, "new_id": new["hash"], "new_email": new["email"]}
        yield "upemail", source, list_id, {**moved, "old_email": old["email"]}
    elif old and new and old["merge"] != new["merge"]:
        yield "profile", source, list_id, dict(data)


def _only(data: dict[str, Any]) -> dict[str, Any]:
    return {"email": data["email"], "campaign_id": ""}
