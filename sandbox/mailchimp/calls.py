"""One call of the API: what was asked, how it is refused, how a list of things is paged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from marketing_ops.errors import FatalError
from sandbox.mailchimp.account import Account
from sandbox.mailchimp.names import instant
from sandbox.records import Version

T = TypeVar("T")
ERRORS = "https://mailchimp.com/developer/marketing/docs/errors/"
MAX_COUNT = 1000
MAX_BATCH = 500
Tree = dict[str, "Tree"]


class Problem(Exception):  # noqa: N818 - the word of RFC 7807
    """A refusal, answered as problem+json."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(title)
        self.status, self.title, self.detail, self.errors = status, title, detail, errors

    def document(self, request_id: str) -> dict[str, Any]:
        """The body of the answer."""
        found = {"type": ERRORS, "title": self.title, "status": self.status}
        found |= {"detail": self.detail, "instance": request_id}
        return {**found, "errors": list(self.errors)} if self.errors else found


def invalid(detail: str, name: str = "", message: str = "") -> Problem:
    """400 Invalid Resource; `name` and `message` say which field is wrong."""
    return Problem(
        400, "Invalid Resource", detail, [{"field": name, "message": message}] if name else ()
    )


def missing() -> Problem:
    """404 for anything that is not there."""
    return Problem(404, "Resource Not Found", "The requested resource could not be found.")


@dataclass
class Call:
    """One call as its handler sees it.

    Attributes:
        account: whom it is about.
        now: the clock in milliseconds.
        method: GET, POST, ...
        path: below /3.0, beginning with a slash.
        query: the query's parameters.
        body: the parsed body, {} without one.
        by: whose change it is in webhooks: `api`.
    """

    account: Account
    now: int
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = field(default_factory=dict)
    by: str = "api"

    def get(self, kind: str, key: str) -> Version:
        """A record that has to be there."""
        found = self.account.records.get(kind, key, self.now)
        if found is None:
            raise missing()
        return found

    def all(self, kind: str) -> list[Version]:
        """The records of a kind."""
        return self.account.records.all(kind, self.now)

    def since(self, name: str) -> int | None:
        """An instant among the parameters, epoch ms; None without it."""
        text = self.query.get(name)
        if not text:
            return None
        try:
            return instant(text)
        except FatalError as error:
            raise invalid(
                "The resource submitted could not be validated. For field-specific details, see"
                " the 'errors' array.",
                name,
                "This value should be a valid ISO 8601 date and time.",
            ) from error

    def page(self, found: Sequence[T]) -> Sequence[T]:
        """What `count` (10 without a word, at most 1000) and `offset` ask for."""
        count, offset = self._number("count", 10), self._number("offset", 0)
        if count > MAX_COUNT:
            raise invalid("The value is too large.", "count", "This value should be 1000 or less.")
        return found[offset : offset + count]

    def is_true(self, name: str) -> bool:
        """A flag among the parameters."""
        return self.query.get(name, "").lower() in ("true", "1")

    def text(self, name: str) -> str:
        """A text that the body has to have."""
        value = self.body.get(name) if isinstance(self.body, dict) else None
        if not isinstance(value, str) or not value:
            raise invalid(
                "The resource submitted could not be validated. For field-specific details, see"
                " the 'errors' array.",
                name,
                "This value should not be blank.",
            )
        return value

    def _number(self, name: str, default: int) -> int:
        text = self.query.get(name, str(default))
        if not text.isdigit():
            raise invalid("The value is not valid.", name, "This value should be 0 or more.")
        return int(text)

    def selected(self, document: Any) -> Any:
        """The document with the parts that `fields` and `exclude_fields` leave."""
        if wanted := self.query.get("fields"):
            document = _keep(document, _tree(wanted.split(",")))
        elif unwanted := self.query.get("exclude_fields"):
            document = _drop(document, _tree(unwanted.split(",")))
        return document


def _tree(paths: Iterable[str]) -> Tree:
    tree: Tree = {}
    for path in paths:
        place = tree
        for name in path.strip().split("."):
            place = place.setdefault(name, {})
    return tree


def _keep(value: Any, tree: Tree) -> Any:
    if not tree:
        return value
    if isinstance(value, list):
        return [_keep(one, tree) for one in value]
    if isinstance(value, dict):
        return {name: _keep(value[name], below) for name, below in tree.items() if name in value}
    return value


def _drop(value: Any, tree: Tree) -> Any:
    if isinstance(value, list):
        return [_drop(one, tree) for one in value]
    if isinstance(value, dict):
        kept = {name: one for name, one in value.items() if tree.get(name, True)}
        return {name: _drop(one, tree[name]) if name in tree else one for name, one in kept.items()}
    return value


def links(path: str) -> list[dict[str, str]]:
    """The `_links` of a resource: itself."""
    return [{"rel": "self", "href": f"https://us1.api.mailchimp.com/3.0{path}", "method": "GET"}]


def batch(value: Any, name: str) -> list[Any]:
    """A list of at most 500 things among the body's."""
    found = value or []
    if not isinstance(found, list):
        raise invalid("The resource submitted could not be validated.", name, "Schema: array")
    if len(found) > MAX_BATCH:
        raise Problem(400, "Bad Request", f"`{name}` may hold at most {MAX_BATCH} items.")
    return found
