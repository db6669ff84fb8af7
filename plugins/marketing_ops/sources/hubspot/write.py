"""What is written to HubSpot: tasks, members of static lists, contacts; an outcome for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.sources.base import Outcome
from marketing_ops.sources.hubspot.answers import MissingError, RefusedError
from marketing_ops.sources.hubspot.client import API_VERSION, HubSpotClient
from marketing_ops.sources.hubspot.records import iso, to_ms

EXTERNAL_KEY = "external_key"
"""A task property of ours with unique values (Settings > Properties): HubSpot knows no idempotency
key, by this a task that was made already is found."""

WRITTEN_AT_A_TIME = 100
_TASKS = f"/crm/objects/{API_VERSION}/tasks"
_TASK_TO = {"contacts": 204, "companies": 192, "deals": 216}
"""How HubSpot numbers the associations of a task (2026-09)."""


@dataclass(frozen=True)
class Task:
    """Something for somebody in sales to do.

    Attributes:
        key: our own name of it, the same whenever it is written again.
        subject: its title.
        due_at: when it should be done.
        body: more about it.
        owner_id: whose it is, "" = nobody's.
        kind: TODO, CALL or EMAIL.
        about: the ids it is associated with, by `contacts`, `companies` and `deals`.
    """

    key: str
    subject: str
    due_at: datetime
    body: str = ""
    owner_id: str = ""
    kind: str = "TODO"
    about: Mapping[str, Sequence[str]] = field(default_factory=dict)


def tasks(hubspot: HubSpotClient, wanted: Sequence[Task]) -> list[Outcome]:
    """Make each task once, however often it is asked for.

    A task whose answer was lost is looked for again; `unknown` is what even that does not tell, and
    `missing` a task about somebody who is not there.
    """
    there = _tasks_there(hubspot, [task.key for task in wanted])
    found = {key: Outcome(key, "unchanged", external_id=made) for key, made in there.items()}
    for task in wanted:
        if task.key not in found:
            found[task.key] = _task(hubspot, task)
    return [found[task.key] for task in wanted]


def _task(hubspot: HubSpotClient, task: Task) -> Outcome:
    properties = {
        EXTERNAL_KEY: task.key,
        "hs_task_subject": task.subject,
        "hs_task_body": task.body,
        "hs_task_type": task.kind,
        "hs_task_status": "NOT_STARTED",
        "hs_timestamp": iso(to_ms(task.due_at)),
        "hubspot_owner_id": task.owner_id,
    }
    body = {
        "properties": {name: value for name, value in properties.items() if value},
        "associations": list(_associations(task.about)),
    }
    try:
        made = str(hubspot.write("POST", _TASKS, body).get("id") or "")
    except MissingError:
        return Outcome(task.key, "missing", "OBJECT_NOT_FOUND")
    except RefusedError as error:
        # Made by somebody else meanwhile: the values of the property are unique.
        there = _tasks_there(hubspot, [task.key])
        if task.key in there:
            return Outcome(task.key, "unchanged", external_id=there[task.key])
        return Outcome(task.key, "rejected", _reason(error.codes))
    except RetryableError:
        made = ""
    made = made or _tasks_there(hubspot, [task.key]).get(task.key, "")
    if not made:
        return Outcome(task.key, "unknown", "NO_ANSWER")
    return Outcome(task.key, "done", external_id=made)


def _associations(about: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    for kind, ids in about.items():
        spec = {
            "associationCategory": "HUBSPOT_DEFINED",
            "associationTypeId": _TASK_TO[kind],
        }
        for key in ids:
            yield {"to": {"id": key}, "types": [spec]}


def _tasks_there(hubspot: HubSpotClient, keys: Sequence[str]) -> dict[str, str]:
    """The ids of the tasks with these keys. Read by the unique property: a search lags behind.

    Raises:
        FatalError: the account has no such property.
    """
    found: dict[str, str] = {}
    for some in _chunks(keys):
        body = {
            "idProperty": EXTERNAL_KEY,
            "properties": [EXTERNAL_KEY],
            "propertiesWithHistory": [],
            "inputs": [{"id": key} for key in some],
        }
        try:
            answer = hubspot.ask(f"{_TASKS}/batch/read", body)
        except RefusedError as error:
            raise FatalError(
                f"`{hubspot.name}` cannot find tasks by `{EXTERNAL_KEY}`: add a text property of"
                " that name with unique values to its tasks (Settings > Properties)"
            ) from error
        for one in answer.get("results") or ():
            found[str(one["properties"][EXTERNAL_KEY])] = str(one["id"])
    return found


def list_members(
    hubspot: HubSpotClient,
    list_id: str,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
) -> list[Outcome]:
    """Put contacts on a static list and take others off it; doing it again changes nothing.

    Args:
        list_id: a MANUAL or SNAPSHOT list.
        add: ids of contacts to put on it.
        remove: ids of contacts to take off it.

    Raises:
        RefusedError: the list makes its members itself (DYNAMIC).
    """
    path = f"/crm/lists/{API_VERSION}/{list_id}/memberships"
    outcomes: list[Outcome] = []
    for verb, ids, names in (
        ("add", add, ("recordsIdsAdded", "recordIdsAdded")),
        ("remove", remove, ("recordIdsRemoved",)),
    ):
        for some in _chunks(list(dict.fromkeys(ids))):
            answer = hubspot.write("PUT", f"{path}/{verb}", some, is_idempotent=True)
            done = {str(key) for name in names for key in answer.get(name) or ()}
            missing = {str(key) for key in answer.get("recordIdsMissing") or ()}
            outcomes += [_membership(key, done, missing) for key in some]
    return outcomes


def _membership(key: str, done: set[str], missing: set[str]) -> Outcome:
    if key in missing:
        return Outcome(key, "missing")
    return Outcome(key, "done" if key in done else "unchanged")


def contacts(
    hubspot: HubSpotClient, wanted: Mapping[str, Mapping[str, Any]], *, id_property: str = ""
) -> list[Outcome]:
    """Set properties of contacts, id -> properties; with an `id_property` make those who are new.

    Args:
        id_property: a property with unique values by which the keys name contacts. `email` is
            refused: HubSpot takes no partial update by it (2026-09).
    """
    if id_property == "email":
        raise FatalError(
            "HubSpot takes no partial update of a contact by its address: name contacts by their"
            " id, or by a property of your own with unique values"
        )
    verb = "upsert" if id_property else "update"
    path = f"/crm/objects/{API_VERSION}/contacts/batch/{verb}"
    outcomes: list[Outcome] = []
    for some in _chunks(list(wanted)):
        inputs = [_input(key, wanted[key], id_property) for key in some]
        # Absolute values by key: sending it twice is as good as once.
        answer = hubspot.write("POST", path, {"inputs": inputs}, is_idempotent=True)
        outcomes += _written(some, answer, id_property)
    return outcomes


def _input(key: str, properties: Mapping[str, Any], id_property: str) -> dict[str, Any]:
    by = {"idProperty": id_property} if id_property else {}
    return {"id": key, "properties": dict(properties), "objectWriteTraceId": key, **by}


def _written(keys: Sequence[str], answer: Mapping[str, Any], id_property: str) -> list[Outcome]:
    """The outcome of each input of a batch, told apart by the trace id it was sent with, or by what
    it was named by: 2026-09 does not promise the trace id.
    """
    done = {}
    for one in answer.get("results") or ():
        named = (one.get("properties") or {}).get(id_property) or one["id"]
        done[str(one.get("objectWriteTraceId") or named)] = str(one["id"])
    refused: dict[str, tuple[str, str]] = {}
    for error in answer.get("errors") or ():
        context = error.get("context") or {}
        status = "missing" if error.get("category") == "OBJECT_NOT_FOUND" else "rejected"
        code = next((one["code"] for one in error.get("errors") or () if one.get("code")), None)
        for key in [*context.get("objectWriteTraceId", ()), *context.get("ids", ())]:
            refused[str(key)] = (status, str(code or error.get("category") or ""))
    return [_outcome(key, done, refused) for key in keys]


def _outcome(key: str, done: dict[str, str], refused: dict[str, tuple[str, str]]) -> Outcome:
    if key in done:
        return Outcome(key, "done", external_id=done[key])
    status, reason = refused.get(key, ("unknown", "NOT_NAMED"))
    if status == "missing":
        return Outcome(key, "missing", reason)
    return Outcome(key, "rejected" if status == "rejected" else "unknown", reason)


def _reason(codes: tuple[str, ...]) -> str:
    return " ".join(filter(None, codes))


def _chunks(keys: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), WRITTEN_AT_A_TIME):
        yield list(keys[start : start + WRITTEN_AT_A_TIME])
