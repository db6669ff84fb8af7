"""The account: owners, pipelines, details, usage, tokens."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from sandbox.hubspot import PORTAL
from sandbox.hubspot.answers import Answer, Ask, RefusedError, not_found
from sandbox.hubspot.pipeline import LOST, PIPELINE, STAGES, WON
from sandbox.hubspot.values import iso
from sandbox.records import Version

if TYPE_CHECKING:
    from sandbox.hubspot.crm import Crm

SCOPES = (
    "crm.lists.read",
    "crm.lists.write",
    "crm.objects.companies.read",
    "crm.objects.companies.write",
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
    "crm.objects.deals.read",
    "crm.objects.deals.write",
    "crm.objects.owners.read",
    "crm.schemas.deals.read",
    "communication_preferences.read",
    "communication_preferences.write",
    "content",
    "marketing-email",
    "transactional-email",
)


def owners(ask: Ask) -> Answer:
    """`GET /crm/owners`: those who are there, or with `archived=true` those who left."""
    records, is_archived = ask.crm.records, ask.flag("archived")
    rows = records.gone("owner", ask.now) if is_archived else records.all("owner", ask.now)
    limit, after = ask.number("limit", 100, 500), int(ask.query.get("after") or 0)
    email = ask.query.get("email")
    found = [one for one in rows if email in (None, "", one.document["email"])]
    left = [one for one in found if int(one.key) > after]
    page = [_owner(one, is_archived=is_archived) for one in left[:limit]]
    body: dict[str, Any] = {"results": page}
    if len(left) > limit:
        body["paging"] = {"next": {"after": page[-1]["id"]}}
    return Answer(body)


def owner(ask: Ask, key: str) -> Answer:
    """`GET /crm/owners/{id}`."""
    is_archived = ask.flag("archived")
    records = ask.crm.records
    rows = records.gone("owner", ask.now) if is_archived else records.all("owner", ask.now)
    one = next((row for row in rows if row.key == key), None)
    if one is None:
        raise not_found()
    return Answer(_owner(one, is_archived=is_archived))


def _owner(one: Version, *, is_archived: bool) -> dict[str, Any]:
    document = one.document
    user = int(one.key) - 60_000_000
    return {
        "id": one.key,
        "email": document["email"],
        "firstName": document["firstName"],
        "lastName": document["lastName"],
        "type": "PERSON",
        "userId": None if is_archived else user,
        "userIdIncludingInactive": user,
        "teams": [{"id": str(len(document["team"])), "name": document["team"], "primary": True}],
        "createdAt": iso(document["createdAt"]),
        "updatedAt": iso(document["updatedAt"]),
        "archived": is_archived,
    }


def pipelines(ask: Ask, name: str) -> Answer:
    """`GET /crm/pipelines/{objectType}`: deals have one, other objects none here."""
    return Answer({"results": [_pipeline()] if name in ("deals", "deal", "0-3") else []})


def pipeline(ask: Ask, name: str, key: str) -> Answer:
    """`GET /crm/pipelines/{objectType}/{id}`."""
    if name not in ("deals", "deal", "0-3") or key != PIPELINE:
        raise not_found()
    return Answer(_pipeline())


def stages(ask: Ask, name: str, key: str) -> Answer:
    """`GET /crm/pipelines/{objectType}/{id}/stages`."""
    return Answer({"results": pipeline(ask, name, key).body["stages"]})


def _pipeline() -> dict[str, Any]:
    made = {"createdAt": iso(0), "updatedAt": iso(0), "archived": False}
    found = [
        {
            "id": stage.id,
            "label": stage.label,
            "displayOrder": stage.order,
            "metadata": {
                "isClosed": str(stage.id in (WON, LOST)).lower(),
                "probability": str(stage.probability),
            },
            "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
            **made,
        }
        for stage in STAGES.values()
    ]
    return {"id": PIPELINE, "label": "Sales", "displayOrder": 0, "stages": found, **made}


def details(ask: Ask) -> Answer:
    """`GET /account-info/{version}/details`."""
    world = ask.crm.world
    return Answer(
        {
            "portalId": PORTAL,
            "accountType": "STANDARD",
            "timeZone": world.zone,
            "companyCurrency": world.currency,
            "additionalCurrencies": [],
            "utcOffset": "-05:00",
            "utcOffsetMilliseconds": -18_000_000,
            "uiDomain": "app.hubspot.com",
            "dataHostingLocation": "na1",
        }
    )


class Tokens:
    """The tokens of OAuth: half an hour each; a refresh may give another refresh token."""

    def __init__(self, crm: Crm) -> None:
        self.crm = crm
        self.issued: dict[str, int] = {}
        self.refresh = {crm.settings.refresh_token}

    def app_of(self, token: str, now: int) -> str | None:
        """Who calls with a token: `private`, `oauth`; None for one that is not known.

        Raises:
            RefusedError: The token has expired.
        """
        if token == self.crm.settings.token:
            return "private"
        until = self.issued.get(token)
        if until is None:
            return None
        if until <= now:
            message = (
                "The OAuth token used to make this call expired"
                f" {(now - until) // 1000} second(s) ago."
            )
            raise RefusedError(401, message, "EXPIRED_AUTHENTICATION")
        return "oauth"

    def expire(self) -> None:
        """Let every token that was issued be expired."""
        self.issued = dict.fromkeys(self.issued, 0)

    def token(self, ask: Ask) -> Answer:
        """`POST /oauth/{version}/token`, a form: refresh_token, or authorization_code."""
        settings, given = self.crm.settings, ask.body if isinstance(ask.body, dict) else {}
        client = given.get("client_id"), given.get("client_secret")
        if client != (settings.client_id, settings.client_secret):
            raise RefusedError(401, "missing or invalid client id or secret", "BAD_CLIENT_ID")
        grant = given.get("grant_type")
        if grant not in ("refresh_token", "authorization_code"):
            raise RefusedError(400, "unknown grant_type", "BAD_GRANT_TYPE")
        refresh = str(given.get("refresh_token"))
        if grant == "refresh_token" and refresh not in self.refresh | {settings.refresh_token}:
            raise RefusedError(400, "missing or invalid refresh token", "BAD_REFRESH_TOKEN")
        if grant == "authorization_code" and given.get("code") != "sandbox-code":
            raise RefusedError(400, "missing or unknown auth code", "BAD_AUTH_CODE")
        if grant == "authorization_code":
            refresh = settings.refresh_token
        if settings.is_rotating:
            self.refresh.discard(refresh)
            refresh = settings.refresh_token = _secret("refresh", len(self.issued))
            self.refresh.add(refresh)
        access = _secret("access", len(self.issued))
        self.issued[access] = ask.now + round(settings.token_seconds * 1000)
        body = {
            "token_type": "bearer",
            "access_token": access,
            "refresh_token": refresh,
            "expires_in": round(settings.token_seconds),
            "hub_id": PORTAL,
            "user_id": 1,
            "scopes": scopes(self.crm),
        }
        return Answer(body)

    def about(self, ask: Ask, token: str) -> Answer:
        """`GET /oauth/v1/access-tokens/{token}`."""
        if self.issued.get(token, 0) <= ask.now:
            raise not_found("token not found or expired")
        body = {
            "token": token,
            "token_type": "access",
            "user": "sandbox@example.com",
            "hub_domain": "sandbox.example.com",
            "hub_id": PORTAL,
            "app_id": 113,
            "user_id": 1,
            "expires_in": (self.issued[token] - ask.now) // 1000,
            "scopes": scopes(self.crm),
        }
        return Answer(body)

    def about_private(self, ask: Ask) -> Answer:
        """`POST /oauth/v2/private-apps/get/access-token-info`."""
        if ask.field("tokenKey", str) != self.crm.settings.token:
            raise not_found("unknown token")
        body = {"userId": 1, "hubId": PORTAL, "appId": 113, "scopes": scopes(self.crm)}
        return Answer(body)


def scopes(crm: Crm) -> list[str]:
    """What the app may do."""
    return [one for one in SCOPES if one not in crm.settings.missing_scopes]


def _secret(kind: str, count: int) -> str:
    text = f"{kind}:{time.time_ns()}:{count}"
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
