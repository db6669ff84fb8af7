"""One request and the ways to answer it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox.hashing import number

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

    from sandbox.hubspot.crm import Crm


class RefusedError(Exception):
    """HubSpot does not do what was asked."""

    def __init__(
        self,
        status: int,
        message: str,
        category: str = "VALIDATION_ERROR",
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.category, self.more = status, message, category, more


def not_found(message: str = "resource not found") -> RefusedError:
    """A 404."""
    return RefusedError(404, message, "OBJECT_NOT_FOUND")


@dataclass
class Answer:
    """A status and a body that becomes JSON; None: no body."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Ask:
    """One request, its path without the version."""

    crm: Crm
    method: str
    path: str
    query: QueryParams
    body: Any
    now: int
    base_url: str

    def words(self, name: str) -> list[str]:
        """A parameter that may be repeated or hold several names with commas between."""
        return [one for text in self.query.getlist(name) for one in text.split(",") if one]

    def flag(self, name: str) -> bool:
        """A parameter that is `true`."""
        return self.query.get(name, "").lower() == "true"

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number between 1 and `most`.

        Raises:
            RefusedError: It is something else.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isdigit() or not 1 <= int(text) <= most:
            raise RefusedError(400, f"{name} must be between 1 and {most}")
        return int(text)

    def field(self, name: str, kind: type) -> Any:
        """A value of the body.

        Raises:
            RefusedError: It is missing or of another kind.
        """
        found = self.body.get(name) if isinstance(self.body, dict) else None
        if not isinstance(found, kind):
            raise RefusedError(400, f"Invalid input JSON: {name} is missing or not as expected")
        return found

    def inputs(self, most: int = 100) -> list[Any]:
        """The inputs of a batch.

        Raises:
            RefusedError: None, or more than HubSpot takes at once.
        """
        found = self.field("inputs", list)
        if not found or len(found) > most:
            raise RefusedError(400, f"The number of inputs must be between 1 and {most}")
        return list(found)


def error_body(error: RefusedError, path: str, now: int) -> dict[str, Any]:
    """The body of a refusal."""
    return {
        "status": "error",
        "message": error.message,
        "correlationId": correlation(path, now),
        "category": error.category,
        **error.more,
    }


def correlation(*parts: object) -> str:
    """The id by which HubSpot's support finds a request."""
    digits = f"{number(*parts):016x}{number('second', *parts):016x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
