"""Who is in a segment, before it is used: size, changes, masked members, the SQL and its plan."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from marketing_ops import clock, sqlfile
from marketing_ops.errors import DefinitionError
from marketing_ops.segments import compiler
from marketing_ops.segments.definition import load_all
from marketing_ops.warehouse import Warehouse, as_of_batch
from marketing_ops.yamlfile import did_you_mean

_KEYWORDS = """
    select distinct on from left outer join where and or not group by order case when then else end
    as in is null exists union all filter cast between coalesce array desc asc nulls last true false
    any timestamp with time zone varchar bigint integer numeric text interval date
"""
_BREAKS = re.compile(r" (LEFT OUTER JOIN|JOIN|AND NOT|AND|GROUP BY|ORDER BY|UNION ALL) ")


@dataclass(frozen=True)
class Preview:
    """What a preview found.

    Attributes:
        at: the instant it was evaluated for; `mode` says how (live, as_of, known_at).
        entering: members found who are not in the live segment; leaving: the reverse.
        members: ten masked addresses, or contact numbers, lowest contact_id first.
        problems: what is wrong in other files.
    """

    segment: str
    description: str
    mode: str
    at: datetime
    size: int
    entering: int
    leaving: int
    members: list[str]
    sql: str
    params: dict[str, Any]
    milliseconds: float
    plan: list[str] = field(default_factory=list)


def preview(
    warehouse: Warehouse,
    name: str,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    explain: bool = False,
) -> Preview:
    """Evaluate one segment; nothing it writes outlives the call.

    Args:
        as_of: true at that instant by all we know now.
        known_at: what we knew at that instant. Neither: live, now.

    Raises:
        DefinitionError: there is no such segment, or its file is wrong: every problem is named.
    """
    registry, problems = load_all()
    if name not in registry:
        own = [str(problem) for problem in problems if problem.path.stem == name]
        missing = f"there is no segment `{name}`.{did_you_mean(name, set(registry))}"
        raise DefinitionError("\n".join(own) or missing)
    mode: compiler.Mode = "as_of" if as_of else "known_at" if known_at else "live"
    at = as_of or known_at or clock.now()
    sql, values = compiler.rule_sql(registry[name].where, registry=registry, mode=mode)
    params: dict[str, Any] = {**values, "at": at}
    if known_at:
        params["batch"] = as_of_batch(warehouse, known_at)
    with warehouse.transaction(force_rollback=True):
        warehouse.execute("set local work_mem = '256MB'")
        sqlfile.execute(warehouse, "engage/segment_temporary_tables")
        started = time.perf_counter()
        warehouse.execute(f"insert into segment_hits (contact_id) {sql}".encode(), params)
        elapsed = (time.perf_counter() - started) * 1000
        row = sqlfile.execute(warehouse, "engage/segment_preview", {"segment": name}).fetchone()
        plan = []
        if explain:
            text = f"explain (analyze, buffers) {sql}"
            plan = [str(line) for (line,) in warehouse.execute(text.encode(), params)]
    assert row is not None
    return Preview(
        segment=name,
        description=registry[name].description,
        mode=mode,
        at=at,
        size=int(row[0]),
        entering=int(row[1]),
        leaving=int(row[2]),
        members=[_masked(number, email) for number, email in row[3] or []],
        sql=tidy(sql),
        params=params,
        milliseconds=elapsed,
        plan=plan,
    )


def _masked(number: int, email: str | None) -> str:
    """`j***@e***`, so that a look at a segment shows nobody's address."""
    if not email or "@" not in email:
        return f"contact {number}, no address"
    local, _, domain = email.partition("@")
    return f"{local[:1]}***@{domain[:1]}***"


def tidy(sql: str) -> str:
    """The compiled SQL in lower case with a line for each join and condition."""
    words = re.compile(rf"\b({'|'.join(_KEYWORDS.split())})\b", re.IGNORECASE)
    pieces = re.split(r"('[^']*')", sql)
    for number in range(0, len(pieces), 2):
        broken = _BREAKS.sub(lambda match: f"\n  {match.group(1)} ", pieces[number])
        pieces[number] = words.sub(lambda match: match.group(0).lower(), broken)
    return "".join(pieces)


def render(shown: Preview) -> str:
    """The preview as text for a terminal."""
    when = {"live": "now", "as_of": "as of", "known_at": "as known at"}[shown.mode]
    lines = [
        f"segment {shown.segment}: {shown.description}",
        f"{when} {shown.at.isoformat(timespec='seconds')}: {shown.size} members"
        f" (+{shown.entering} -{shown.leaving} against the live segment),"
        f" {shown.milliseconds:.0f} ms",
        "",
        *(f"  {member}" for member in shown.members),
    ]
    if shown.size > len(shown.members):
        lines.append(f"  and {shown.size - len(shown.members)} more")
    lines += ["", shown.sql, ""]
    for name, value in sorted(shown.params.items(), key=lambda item: _natural(item[0])):
        lines.append(f"  {name} = {json.dumps(value, default=str, ensure_ascii=False)}")
    if shown.plan:
        lines += ["", *shown.plan]
    return "\n".join(lines)


def _natural(name: str) -> tuple[str, int]:
    digits = re.sub(r"\D", "", name)
    return re.sub(r"\d", "", name), int(digits or 0)
