"""include/settings.yaml and include/sources/*.yaml: what the whole deployment shares."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from marketing_ops import yamlfile
from marketing_ops.durations import Duration, Share
from marketing_ops.errors import FatalError
from marketing_ops.paths import include_root

_OVERRIDES = {
    "receiver_url": "MARKETING_OPS_RECEIVER_URL",
    "reporting_currency": "MARKETING_OPS_REPORTING_CURRENCY",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Brand(_Strict):
    """Who speaks: each message of a brand carries its sender and postal address."""

    name: str
    sender: str
    postal_address: str
    default_language: str = "en"


class Cap(_Strict):
    """At most `sends` messages to one contact in any span of `per`."""

    sends: int = Field(ge=1)
    per: Duration


class Quiet(_Strict):
    """Hours in which nobody is disturbed; may cross midnight. Times are `HH:MM`, quoted."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_: str = Field(alias="from", pattern=r"^\d\d:\d\d$")
    to: str = Field(pattern=r"^\d\d:\d\d$")
    timezone: Literal["contact", "reporting"] = "contact"


class Policy(_Strict):
    """What holds for every campaign on one brand's channel, so that caps stay exact."""

    cap: Cap | None = None
    quiet: Quiet | None = None
    give_up: Duration = timedelta(days=3)


class Identity(_Strict):
    """How identities become one contact."""

    max_people_per_key: int = Field(default=5, ge=2)
    field_priority: list[str] = Field(default_factory=list)


class Limits(_Strict):
    """Bounds that stop a run before it does harm."""

    max_reject_ratio: Share = 0.02
    shards: int = Field(default=4, ge=1, le=64)


class Settings(_Strict):
    """include/settings.yaml."""

    reporting_timezone: str = "UTC"
    reporting_currency: str = "USD"
    receiver_url: str = "http://127.0.0.1:8090"
    brands: dict[str, Brand]
    policies: dict[str, dict[str, Policy]] = Field(default_factory=dict)
    identity: Identity = Identity()
    limits: Limits = Limits()
    retention: dict[str, Duration] = Field(default_factory=dict)

    @field_validator("reporting_timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"`{value}` is not an IANA time zone, for instance Europe/Belgrade"
            ) from error
        return value

    def policy(self, brand: str, channel: str) -> Policy:
        """The policy of a brand's channel; one without cap or quiet hours when none is set."""
        return self.policies.get(brand, {}).get(channel, Policy())


class Source(_Strict):
    """include/sources/<account>.yaml: one account of one vendor system."""

    source: str
    system: str
    connection: str
    brand: str
    streams: dict[str, Literal["hourly", "daily", "off"]] = Field(default_factory=dict)
    pool_slots: int = Field(default=2, ge=1, le=32)
    quota_share: Share = 0.5
    map: dict[str, str] = Field(default_factory=dict)
    sending: Literal["off", "live"] | dict[Literal["allow_list"], list[str]] = "off"

    @property
    def pool(self) -> str:
        """The Airflow pool that bounds this account's parallel calls."""
        return f"marketing_ops_{self.source}"


@cache
def settings() -> Settings:
    """The deployment's settings, read once per process.

    `MARKETING_OPS_RECEIVER_URL` and `MARKETING_OPS_REPORTING_CURRENCY` override what the file
    says: one file serves several environments.

    Raises:
        FileProblemsError: file, line, key and the nearest right spelling of what is wrong.
    """
    loaded = yamlfile.load(include_root() / "settings.yaml", Settings)
    named = {key: os.environ.get(variable) for key, variable in _OVERRIDES.items()}
    return loaded.model_copy(update={key: value for key, value in named.items() if value})


def sources() -> tuple[dict[str, Source], list[yamlfile.Problem]]:
    """Every account by name, and the problems of the files that cannot be used."""
    found, problems = yamlfile.load_folder(include_root() / "sources", Source)
    folder = include_root() / "sources"
    for name, source in list(found.items()):
        if source.source != name:
            path = folder / f"{name}.yaml"
            message = f"says `{source.source}`, the file is named `{name}`: make them equal"
            problems.append(yamlfile.Problem(path, 1, "source", message))
            del found[name]
    return found, problems


def source(name: str) -> Source:
    """One account.

    Raises:
        FatalError: there is no such file, or it is wrong.
    """
    found, problems = sources()
    if name in found:
        return found[name]
    own = [str(problem) for problem in problems if problem.path.stem == name]
    if own:
        raise FatalError("\n".join(own))
    hint = yamlfile.did_you_mean(name, set(found))
    raise FatalError(f"there is no include/sources/{name}.yaml.{hint}")
