"""A full read cut into parts that are read side by side, and go on where each of them was."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from marketing_ops.sources.base import Page, ReadRequest
from marketing_ops.sync.flow import together

PAGES_AHEAD = 8

Read = Callable[[ReadRequest], Iterator[Page]]


@dataclass(frozen=True)
class Parts:
    """The parts of one read and how far each was committed.

    Attributes:
        parts: JSON objects as `Source.slices` made them.
        states: for each the state to resume with, None = from its start.
    """

    parts: list[dict[str, Any]]
    states: list[dict[str, Any] | None]

    @classmethod
    def of(cls, state: dict[str, Any]) -> Parts | None:
        """The parts an interrupted run had saved; None when it had none."""
        if "parts" not in state:
            return None
        return cls(list(state["parts"]), list(state["states"]))

    @classmethod
    def fresh(cls, parts: list[dict[str, Any]]) -> Parts:
        """Parts of which nothing is read yet."""
        return cls(parts, [None] * len(parts))

    def pages(self, read: Read, request: ReadRequest, threads: int) -> Generator[Page, None, None]:
        """The pages of all parts as they come, `threads` of them read at a time.

        The state of each page names how far every part was when it was yielded. The last page is
        empty and carries the sum of the parts' counts, where every part has one.
        """
        states = list(self.states)
        todo = [number for number, state in enumerate(states) if not _is_done(state)]
        requests = [
            replace(request, part=self.parts[number], resume=states[number]) for number in todo
        ]
        found = together([partial(read, one) for one in requests], threads, PAGES_AHEAD)
        with closing(found):
            for place, page in found:
                done = {"is_done": True, "expected": page.expected}
                states[todo[place]] = page.state if page.has_more else done
                state = {"parts": self.parts, "states": list(states)}
                yield replace(page, state=state, has_more=True, expected=None, roots=None)
        counts = [state["expected"] if state else None for state in states]
        yield Page(expected=None if None in counts else sum(filter(None, counts)))


def _is_done(state: dict[str, Any] | None) -> bool:
    return bool(state and state.get("is_done"))
