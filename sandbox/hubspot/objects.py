"""Objects: list, get, create, change, archive, merge, and the batches of these."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from sandbox.hubspot import KEPT, properties
from sandbox.hubspot.answers import Answer, Ask, RefusedError, not_found
from sandbox.hubspot.crm import Crm, Links
from sandbox.hubspot.values import instant, iso
from sandbox.records import Version

HISTORY_BATCH = 50


def kind_of(name: str) -> str:
    """The kind of objects a path means: `contacts`, `contact` or `0-1`.

    Raises:
        RefusedError: There is no such kind.
    """
    by_id = {type_id: kind for kind, type_id in properties.TYPE_IDS.items()}
    kind = properties.SINGULAR.get(name, by_id.get(name, name))
    if kind not in KEPT:
        raise RefusedError(400, f"Unable to infer object type from: {name}")
    return kind


class Shape:
    """Which properties, histories and associations an answer shows."""

    def __init__(self, kind: str, now: int, names: list[str], histories: list[str]) -> None:
        self.kind, self.now, self.histories = kind, now, histories
        always = ["hs_object_id", properties.created(kind), properties.modified(kind)]
        self.names = list(dict.fromkeys([*always, *names] if names else properties.defaults(kind)))

    def shown(
        self, crm: Crm, one: Version, others: list[str] | None = None, *, archived: bool = False
    ) -> dict[str, Any]:
        """An object as the API writes it; a property without a value is null."""
        values = one.document["properties"]
        found: dict[str, Any] = {
            "id": one.key,
            "properties": {name: values.get(name) for name in self.names if self._has(crm, name)},
            "createdAt": values[properties.created(self.kind)],
            "updatedAt": values[properties.modified(self.kind)],
            "archived": archived,
        }
        if archived:
            found["archivedAt"] = iso(one.at)
        if self.histories:
            history = crm.records.history(self.kind, one.key, self.now)
            found["propertiesWithHistory"] = {
                name: changes(history, name) for name in self.histories
            }
        if others:
            linked = {
                other: crm.linked(self.kind, one.key, other, self.now)
                for other in map(kind_of, others)
            }
            label = properties_singular(self.kind)
            found["associations"] = {
                other: {
                    "results": [
                        {"id": key, "type": f"{label}_to_{properties_singular(other)}"}
                        for key in keys
                    ]
                }
                for other, keys in linked.items()
                if keys
            }
        return found

    def _has(self, crm: Crm, name: str) -> bool:
        return name in crm.types[self.kind] or name.startswith("hs_v2_date_entered_")


def properties_singular(kind: str) -> str:
    """`contact` for `contacts`."""
    return {"companies": "company"}.get(kind, kind[:-1])


def changes(history: list[Version], name: str) -> list[dict[str, Any]]:
    """The values a property has had, newest first."""
    found: list[dict[str, Any]] = []
    last: str | None = None
    for version in history:
        value = version.document["properties"].get(name)
        if value is not None and value != last:
            more = {"sourceType": "CRM_UI", "sourceId": "userId:1", "updatedByUserId": 1}
            found.append({"value": value, "timestamp": iso(version.at), **more})
        last = value
    return found[::-1]


def asked_shape(ask: Ask, kind: str) -> Shape:
    """What the query of a request asks to see."""
    return Shape(kind, ask.now, ask.words("properties"), ask.words("propertiesWithHistory"))


def listed(ask: Ask, name: str) -> Answer:
    """`GET /crm/objects/{kind}`: a page by id; `after` is the last id of the page before."""
    kind, crm = kind_of(name), ask.crm
    shape = asked_shape(ask, kind)
    most = min(crm.settings.page_cap, HISTORY_BATCH if shape.histories else 100)
    limit = min(ask.number("limit", 10, 100), most)
    is_archived = ask.flag("archived")
    rows = crm.archived(kind, ask.now) if is_archived else crm.view(kind, ask.now).by_id
    ids = [int(one.key) for one in rows] if is_archived else crm.view(kind, ask.now).ids
    after = ask.query.get("after")
    if after is not None and not after.isdigit():
        raise RefusedError(400, "The `after` cursor is invalid")
    start = bisect_right(ids, int(after)) if after else 0
    page = rows[start : start + limit]
    others = ask.words("associations")
    body: dict[str, Any] = {
        "results": [shape.shown(crm, one, others, archived=is_archived) for one in page]
    }
    if start + limit < len(rows):
        body["paging"] = {"next": next_page(ask, page[-1].key)}
    return Answer(body)


def next_page(ask: Ask, after: str) -> dict[str, str]:
    """The pointer to the next page."""
    kept = "&".join(f"{k}={v}" for k, v in ask.query.multi_items() if k != "after")
    return {"after": after, "link": f"{ask.base_url}{ask.path}?after={after}&{kept}"}


def find(ask: Ask, kind: str, key: str, by: str | None) -> Version | None:
    """An object by its id, or by a property whose values are unique."""
    if by in (None, "", "hs_object_id"):
        return ask.crm.get(kind, key, ask.now)
    if by == "email" and kind == "contacts":
        return ask.crm.view(kind, ask.now).email(key)
    if by == "external_key" and kind == "tasks":
        rows = ask.crm.view(kind, ask.now).source
        return next((r for r in rows if r.document["properties"].get(by) == key), None)
    raise RefusedError(400, f"{by} is not a unique property of {kind}")


def got(ask: Ask, name: str, key: str) -> Answer:
    """`GET /crm/objects/{kind}/{id}`."""
    kind = kind_of(name)
    one, is_archived = find(ask, kind, key, ask.query.get("idProperty")), False
    if one is None and ask.flag("archived"):
        one = next((row for row in ask.crm.archived(kind, ask.now) if row.key == key), None)
        is_archived = True
    if one is None:
        raise not_found()
    shape, others = asked_shape(ask, kind), ask.words("associations")
    return Answer(shape.shown(ask.crm, one, others, archived=is_archived))


def created(ask: Ask, name: str) -> Answer:
    """`POST /crm/objects/{kind}`."""
    kind = kind_of(name)
    return Answer(_shown(ask, kind, create(ask, kind, ask.body or {})), 201)


def create(ask: Ask, kind: str, given: dict[str, Any]) -> str:
    """A new object from one input; returns its id.

    Raises:
        RefusedError: A property is unknown or wrong, or the address is taken.
    """
    values = checked(ask.crm, kind, given.get("properties") or {})
    if kind == "contacts" and "email" in values:
        taken = ask.crm.view(kind, ask.now).email(values["email"])
        if taken is not None:
            raise RefusedError(409, f"Contact already exists. Existing ID: {taken.key}", "CONFLICT")
    return ask.crm.create(kind, values, ask.now, links_of(ask, kind, given))


def links_of(ask: Ask, kind: str, given: dict[str, Any]) -> Links:
    """The associations of an input, by kind of the other side."""
    links: Links = {}
    types = {(mine, type_id): other for (mine, other), type_id in properties.LINKS.items()}
    for one in given.get("associations") or ():
        other = next((types.get((kind, t["associationTypeId"])) for t in one["types"]), None)
        key = str(one["to"]["id"])
        if other is None or KEPT.index(other) > KEPT.index(kind):
            raise RefusedError(400, "Invalid association type for these objects")
        if ask.crm.get(other, key, ask.now) is None:
            raise not_found(f"No {other} with ID {key} exists")
        links.setdefault(other, []).append(key)
    return links


def checked(crm: Crm, kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """The properties of an input; an empty text clears one.

    Raises:
        RefusedError: One is unknown, read-only, or not of its type.
    """
    for name, value in values.items():
        type_ = crm.types[kind].get(name)
        if type_ is None:
            raise invalid(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')
        if name in properties.READ_ONLY:
            raise invalid(name, "READ_ONLY_VALUE", f'"{name}" is a read only property')
        if value in (None, ""):
            continue
        if type_ == "number" and not _is_number(value):
            raise invalid(name, "INVALID_NUMBER", f'"{name}" was not a valid number')
        if type_ in ("datetime", "date") and not _is_instant(str(value)):
            raise invalid(name, "INVALID_DATE", f'"{name}" was not a valid instant')
        if name == "email" and "@" not in str(value):
            raise invalid(name, "INVALID_EMAIL", "Email address is invalid")
    return {name: None if value == "" else value for name, value in values.items()}


def invalid(name: str, code: str, message: str) -> RefusedError:
    """A refusal of one property, as HubSpot words it."""
    errors = [{"message": message, "code": code, "context": {"propertyName": [name]}}]
    return RefusedError(400, f"Property values were not valid: {code}", errors=errors)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_instant(value: str) -> bool:
    try:
        instant(value)
    except ValueError:
        return False
    return True


def changed(ask: Ask, name: str, key: str) -> Answer:
    """`PATCH /crm/objects/{kind}/{id}`."""
    kind = kind_of(name)
    one = find(ask, kind, key, ask.query.get("idProperty"))
    if one is None:
        raise not_found()
    change(ask, kind, one, ask.field("properties", dict))
    return Answer(_shown(ask, kind, one.key))


def change(ask: Ask, kind: str, one: Version, given: dict[str, Any]) -> None:
    """Set properties; a life-cycle stage only moves forward, unless it was emptied first."""
    values = checked(ask.crm, kind, given)
    stages, name = properties.LIFECYCLE, "lifecyclestage"
    old, new = one.document["properties"].get(name), values.get(name)
    if old in stages and new in stages and stages.index(new) < stages.index(old):
        del values[name]
    if kind == "contacts" and values.get("email"):
        taken = ask.crm.view(kind, ask.now).email(values["email"])
        if taken is not None and taken.key != one.key:
            raise RefusedError(
                409, f"A contact with this email exists. Existing ID: {taken.key}", "CONFLICT"
            )
    ask.crm.change(kind, one.key, values, ask.now)


def archived(ask: Ask, name: str, key: str) -> Answer:
    """`DELETE /crm/objects/{kind}/{id}`: to the archive; 204 even when it is not there."""
    ask.crm.archive(kind_of(name), key, ask.now)
    return Answer(status=204)


def merged(ask: Ask, name: str) -> Answer:
    """`POST /crm/objects/{kind}/merge`: a new id; the two old ones answer 404 from now on."""
    kind = kind_of(name)
    primary, other = ask.field("primaryObjectId", str), ask.field("objectIdToMerge", str)
    key = ask.crm.merge(kind, primary, other, ask.now)
    if key is None:
        raise not_found("one of the objects to merge does not exist, or they are the same")
    return Answer(_shown(ask, kind, key))


def erased(ask: Ask, name: str) -> Answer:
    """`POST /crm/objects/{kind}/gdpr-delete`: gone, not even among the archived."""
    kind = kind_of(name)
    by = (ask.body or {}).get("idProperty")
    one = find(ask, kind, ask.field("objectId", str), by)
    if one is not None:
        ask.crm.erase(kind, one.key, ask.now)
    return Answer(status=204)


def described(ask: Ask, name: str) -> Answer:
    """`GET /crm/properties/{kind}`."""
    kind = kind_of(name)
    made = iso(0)
    known = ask.crm.types[kind].items()
    found = [properties.definition(kind, one, type_, made) for one, type_ in known]
    return Answer({"results": found})


def _shown(ask: Ask, kind: str, key: str) -> dict[str, Any]:
    one = ask.crm.get(kind, key, ask.now)
    assert one is not None
    names = list(one.document["properties"])
    return Shape(kind, ask.now, names, []).shown(ask.crm, one)
