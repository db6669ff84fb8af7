"""What the engine needs to know of a stream's rows, made once per stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

from marketing_ops.sources.base import Stream
from marketing_ops.sync.fastrows import Extractor, generate
from marketing_ops.sync.rows import Fields, Odd, fields_of


@dataclass(frozen=True)
class RowShape:
    """What the engine needs of one stream's rows.

    Attributes:
        names: the declared columns, then `extra`.
        fast: the fields of a record of the declared shape, or None when it is of another.
        cursor: the place of the cursor column among the fields, None for children and snapshots.
        absorbs: the place of the column with the ids of merged rows, None without one.
        parent: the place of the parent's id, None for a stream without parent.
    """

    stream: Stream
    names: tuple[str, ...]
    fast: Extractor
    cursor: int | None
    parent: int | None
    absorbs: int | None

    def careful(self, record: dict[str, Any], odd: Counter[Odd]) -> Fields:
        """The fields of any object: unknown fields and misfits are kept in `extra`, counted."""
        return fields_of(self.stream, record, odd)


@cache
def shape_of(stream: Stream) -> RowShape:
    """The row shape of a stream, made once."""
    names = [column.name for column in stream.columns]
    return RowShape(
        stream=stream,
        names=(*names, "extra"),
        fast=generate(stream),
        cursor=names.index(stream.cursor) if stream.cursor else None,
        parent=names.index(stream.parent_column) if stream.parent_column else None,
        absorbs=names.index(stream.absorbs) if stream.absorbs else None,
    )
