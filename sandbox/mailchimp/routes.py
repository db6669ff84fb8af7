"""Which function answers which call, and how a call is named in the list of requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from marketing_ops.errors import FatalError
from sandbox.mailchimp import (
    audiences,
    batches,
    campaigns,
    members,
    reports,
    segments,
    tags,
    webhooks,
    writing,
)
from sandbox.mailchimp.calls import Call, Problem, invalid, missing

LIST, MEMBER, SEGMENT = "/lists/{}", "/lists/{}/members/{}", "/lists/{}/segments/{}"
HANDLERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("GET", "/"): audiences.root,
    ("GET", "/ping"): audiences.ping,
    ("GET", "/lists"): audiences.listing,
    ("GET", LIST): audiences.one_list,
    ("POST", LIST): writing.write_many,
    ("GET", LIST + "/merge-fields"): audiences.merge_fields,
    ("POST", LIST + "/merge-fields"): audiences.add_merge_field,
    ("GET", LIST + "/tag-search"): tags.search,
    ("GET", LIST + "/members"): members.listing,
    ("POST", LIST + "/members"): writing.add,
    ("GET", MEMBER): members.one_member,
    ("PUT", MEMBER): writing.put,
    ("PATCH", MEMBER): writing.patch,
    ("DELETE", MEMBER): writing.archive,
    ("POST", MEMBER + "/actions/delete-permanent"): writing.forget,
    ("GET", MEMBER + "/tags"): members.tags_of,
    ("POST", MEMBER + "/tags"): members.set_tags,
    ("GET", LIST + "/segments"): segments.listing,
    ("POST", LIST + "/segments"): segments.create,
    ("GET", SEGMENT): segments.one_segment,
    ("POST", SEGMENT): segments.write_many,
    ("PATCH", SEGMENT): segments.change,
    ("DELETE", SEGMENT): segments.remove,
    ("GET", SEGMENT + "/members"): segments.members_of,
    ("POST", SEGMENT + "/members"): segments.add_member,
    ("DELETE", SEGMENT + "/members/{}"): segments.remove_member,
    ("GET", LIST + "/abuse-reports"): reports.abuse_reports,
    ("GET", LIST + "/webhooks"): webhooks.listing,
    ("POST", LIST + "/webhooks"): webhooks.create,
    ("GET", LIST + "/webhooks/{}"): webhooks.one_webhook,
    ("PATCH", LIST + "/webhooks/{}"): webhooks.change,
    ("DELETE", LIST + "/webhooks/{}"): webhooks.remove,
    ("GET", "/campaigns"): campaigns.listing,
    ("POST", "/campaigns"): campaigns.create,
    ("GET", "/campaigns/{}"): campaigns.one_campaign,
    ("PATCH", "/campaigns/{}"): campaigns.change,
    ("DELETE", "/campaigns/{}"): campaigns.remove,
    ("GET", "/campaigns/{}/content"): campaigns.content,
    ("PUT", "/campaigns/{}/content"): campaigns.content,
    ("POST", "/campaigns/{}/actions/send"): campaigns.send_now,
    ("POST", "/campaigns/{}/actions/schedule"): campaigns.schedule,
    ("POST", "/campaigns/{}/actions/unschedule"): campaigns.unschedule,
    ("GET", "/reports"): reports.listing,
    ("GET", "/reports/{}"): reports.one_report,
    ("GET", "/reports/{}/sent-to"): reports.sent_to,
    ("GET", "/reports/{}/email-activity"): reports.email_activity,
    ("GET", "/reports/{}/open-details"): reports.open_details,
    ("GET", "/reports/{}/click-details"): reports.click_details,
    ("GET", "/reports/{}/click-details/{}/members"): reports.click_members,
    ("GET", "/reports/{}/unsubscribed"): reports.unsubscribed,
    ("GET", "/automations"): campaigns.automations,
    ("POST", "/customer-journeys/journeys/{}/steps/{}/actions/trigger"): campaigns.trigger,
    ("GET", "/batches"): batches.listing,
    ("POST", "/batches"): batches.create,
    ("GET", "/batches/{}"): batches.one_batch,
    ("DELETE", "/batches/{}"): batches.remove,
}
ROUTES = [
    (method, re.compile(path.replace("{}", "([^/]+)")), path, handler)
    for (method, path), handler in HANDLERS.items()
]


# Names, times and numbers only: nothing that may hold an address is noted.
NOTED = {
    "count",
    "offset",
    "status",
    "since_last_changed",
    "before_last_changed",
    "since_send_time",
    "since",
    "sort_field",
    "sort_dir",
}


def answer(call: Call) -> tuple[int, Any]:
    """(status, document) of a call; the document is None for 204 and a Problem for a refusal."""
    try:
        handler, values = _found(call.method, call.path)
        document = handler(call, *values)
        return (204, None) if document is None else (200, call.selected(document))
    except Problem as problem:
        return problem.status, problem
    except FatalError as error:
        # An instant in a body that is none.
        return 400, invalid(str(error))


def _found(method: str, path: str) -> tuple[Callable[..., Any], tuple[str, ...]]:
    known = False
    for allowed, pattern, _, handler in ROUTES:
        if found := pattern.fullmatch(path):
            if allowed == method:
                return handler, found.groups()
            known = True
    if known:
        detail = "The requested method and resource are not compatible."
        raise Problem(405, "Method Not Allowed", detail)
    raise missing()


def template(method: str, path: str) -> str:
    """The path with its ids left out: hashes of addresses do not belong into a log."""
    for allowed, pattern, template, _ in ROUTES:
        if allowed == method and pattern.fullmatch(path):
            return template
    return "unknown"
