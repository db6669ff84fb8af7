"""A tiny Singer tap of the contacts, on the SDK: `python singer_tap.py --config FILE`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from pages import flat_pages
from singer_sdk import Stream, Tap
from singer_sdk import typing as th

TEXTS = (
    "email firstname lastname phone company jobtitle website address city country lifecyclestage"
    " annualrevenue num_notes"
)


class Contacts(Stream):
    """The one stream."""

    name = "contacts"
    primary_keys = ("id",)
    schema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("id", th.StringType, required=True),
        *(th.Property(name, th.StringType) for name in TEXTS.split()),
        th.Property("createdate", th.DateTimeType),
        th.Property("lastmodifieddate", th.DateTimeType),
        th.Property("archived", th.BooleanType),
    ).to_dict()

    def get_records(self, context: Any) -> Iterable[dict[str, Any]]:
        for page in flat_pages(self.config["url"]):
            yield from page


class Bench(Tap):
    """The tap."""

    name = "tap-bench"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("url", th.StringType, required=True)
    ).to_dict()

    def discover_streams(self) -> list[Stream]:
        return [Contacts(self)]


if __name__ == "__main__":
    Bench.cli()
