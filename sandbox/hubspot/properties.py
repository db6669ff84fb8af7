"""The properties of each kind of object: their types, and which an answer has without asking."""

from __future__ import annotations

from typing import Any

TYPE_IDS = {
    "contacts": "0-1",
    "companies": "0-2",
    "deals": "0-3",
    "notes": "0-46",
    "meetings": "0-47",
    "calls": "0-48",
    "emails": "0-49",
    "tasks": "0-27",
}
SINGULAR = {
    "contact": "contacts",
    "company": "companies",
    "deal": "deals",
    "task": "tasks",
    "note": "notes",
}
MODIFIED = {"contacts": "lastmodifieddate"}
"""The property that says when an object was last changed; `hs_lastmodifieddate` for the others."""

_COMMON = "hs_object_id:number createdate:datetime hubspot_owner_id:enumeration data_label:string"
_ENGAGEMENT = (
    "hs_object_id:number hs_createdate:datetime hs_lastmodifieddate:datetime hs_timestamp:datetime"
    " hubspot_owner_id:enumeration hs_body_preview:string"
)
_TABLES = {
    "contacts": _COMMON + " lastmodifieddate:datetime email:string firstname:string lastname:string"
    " phone:string city:string state:string country:string zip:string company:string"
    " jobtitle:string lifecyclestage:enumeration hs_lead_status:enumeration hs_language:enumeration"
    " hs_timezone:enumeration hs_analytics_source:enumeration hs_email_optout:bool"
    " hs_merged_object_ids:string favourite_aisle:string date_of_birth:date",
    "companies": _COMMON + " hs_lastmodifieddate:datetime name:string domain:string"
    " industry:enumeration country:string city:string state:string numberofemployees:number"
    " annualrevenue:number lifecyclestage:enumeration hs_merged_object_ids:string",
    "deals": _COMMON + " hs_lastmodifieddate:datetime dealname:string pipeline:enumeration"
    " dealstage:enumeration amount:number deal_currency_code:enumeration closedate:datetime"
    " closed_lost_reason:string hs_is_closed:bool hs_is_closed_won:bool"
    " hs_deal_stage_probability:number dealtype:enumeration hs_merged_object_ids:string",
    "tasks": _ENGAGEMENT + " hs_task_subject:string hs_task_body:string hs_task_status:enumeration"
    " hs_task_priority:enumeration hs_task_type:enumeration external_key:string",
    "notes": _ENGAGEMENT + " hs_note_body:string",
    "calls": _ENGAGEMENT + " hs_call_title:string hs_call_body:string",
    "emails": _ENGAGEMENT + " hs_email_subject:string hs_email_text:string",
    "meetings": _ENGAGEMENT + " hs_meeting_title:string hs_meeting_body:string",
}
TYPES: dict[str, dict[str, str]] = {
    kind: dict(pair.split(":") for pair in words.split()) for kind, words in _TABLES.items()
}
DEFAULTS = {
    "contacts": "createdate email firstname hs_object_id lastmodifieddate lastname",
    "companies": "createdate domain hs_lastmodifieddate hs_object_id name",
    "deals": "amount closedate createdate dealname dealstage hs_lastmodifieddate hs_object_id"
    " pipeline",
}
READ_ONLY = {
    "hs_object_id",
    "createdate",
    "hs_createdate",
    "lastmodifieddate",
    "hs_lastmodifieddate",
    "hs_merged_object_ids",
    "hs_is_closed",
    "hs_is_closed_won",
    "hs_deal_stage_probability",
}
LIFECYCLE = (
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
)
LINKS = {
    ("deals", "contacts"): 3,
    ("contacts", "deals"): 4,
    ("deals", "companies"): 5,
    ("companies", "deals"): 6,
    ("contacts", "companies"): 1,
    ("companies", "contacts"): 2,
    ("tasks", "contacts"): 204,
    ("contacts", "tasks"): 203,
    ("tasks", "companies"): 192,
    ("companies", "tasks"): 191,
    ("tasks", "deals"): 216,
    ("deals", "tasks"): 215,
    ("notes", "contacts"): 202,
    ("contacts", "notes"): 201,
    ("notes", "companies"): 190,
    ("companies", "notes"): 189,
    ("notes", "deals"): 214,
    ("deals", "notes"): 213,
}
"""The association type HubSpot defines from one kind to another."""


def modified(kind: str) -> str:
    """The property with the time of an object's last change."""
    return MODIFIED.get(kind, "hs_lastmodifieddate")


def created(kind: str) -> str:
    """The property with the time an object was made."""
    return "createdate" if kind in DEFAULTS else "hs_createdate"


def defaults(kind: str) -> list[str]:
    """What an answer has when no properties are asked for."""
    return DEFAULTS.get(kind, "hs_createdate hs_lastmodifieddate hs_object_id").split()


def definition(kind: str, name: str, type_: str, now: str) -> dict[str, Any]:
    """A property as the properties endpoint describes it."""
    fields = {"string": "text", "bool": "booleancheckbox", "enumeration": "select"}
    return {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "description": "",
        "type": type_,
        "fieldType": fields.get(type_, "number" if type_ == "number" else "date"),
        "groupName": f"{kind}_information",
        "options": [],
        "archived": False,
        "hidden": False,
        "hubspotDefined": name in TYPES[kind],
        "hasUniqueValue": name in ("hs_object_id", "external_key"),
        "createdAt": now,
        "updatedAt": now,
        "modificationMetadata": {
            "archivable": name not in TYPES[kind],
            "readOnlyDefinition": name in TYPES[kind],
            "readOnlyValue": name in READ_ONLY,
        },
    }
