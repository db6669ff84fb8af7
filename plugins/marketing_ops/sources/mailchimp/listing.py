"""Reads one list of Mailchimp by position, although its rows shift while it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from marketing_ops.errors import FatalError, RetryableError
from marketing_ops.sources.mailchimp.client import MailchimpClient
from marketing_ops.sources.paging import by_offset

PAGE_SIZE = 1000
OVERLAP = 20
"""Rows of a page that the next one repeats: so many may leave meanwhile without a second look."""

Rows = list[Any]


class Listing:
    """One list, page by page.

    Args:
        client: of the account.
        path: the list's path.
        root: the list's name in the answer.
        ask: parameters of each call.
        key: the field that tells its records apart.
        size: records asked for at a time.

    Attributes:
        total: how many records there are, as the last page said.
    """

    def __init__(
        self,
        client: MailchimpClient,
        path: str,
        root: str,
        ask: Mapping[str, Any],
        *,
        key: str = "id",
        size: int = PAGE_SIZE,
    ) -> None:
        self._client, self._path, self._root, self._ask = client, path, root, ask
        self._key, self._size = key, size
        self.total = 0
        self._before: set[str] = set()
        self._end = 0

    def pages(self, start: int = 0) -> Iterator[tuple[Rows, int | None]]:
        """The records from a position on, and where the next page begins; None with the last.

        Raises:
            FatalError: the answer is no such list, or shows the same rows for another page.
            RetryableError: it counts rows behind its place and shows none.
            answers.GoneError: there is no such list.
        """
        return by_offset(
            self._page,
            name=f"{self._root} of `{self._client.name}`",
            size=self._size,
            start=start,
            overlap=min(OVERLAP, self._size - 1),
            key=self._told,
        )

    def _told(self, record: Any) -> str:
        return str(record.get(self._key)) if isinstance(record, dict) else str(record)

    def _page(self, offset: int, size: int) -> tuple[Rows, int]:
        answer = self._client.get(self._path, {**self._ask, "count": size, "offset": offset})
        rows, total = answer.get(self._root), answer.get("total_items")
        if not isinstance(rows, list) or not isinstance(total, int):
            raise FatalError(
                f"`{self._client.name}` answers without {self._root}: its contract is broken"
            )
        if not rows and total > offset:
            raise RetryableError(
                f"`{self._client.name}` counts {total} {self._root} and shows none from {offset} on"
            )
        shown = set(map(self._told, rows))
        if offset and shown and shown <= self._before and total > self._end:
            raise FatalError(
                f"`{self._client.name}` repeats a page of {self._root}: rows would be lost"
            )
        self.total, self._before, self._end = total, shown, offset + len(rows)
        return rows, total


def listed(
    client: MailchimpClient, path: str, root: str, ask: Mapping[str, Any], *, key: str = "id"
) -> Iterator[tuple[Rows, int | None]]:
    """The pages of a whole list."""
    return Listing(client, path, root, ask, key=key).pages()
