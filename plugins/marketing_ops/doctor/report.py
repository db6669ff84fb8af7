"""What the doctor found, by place, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from marketing_ops.sources.base import Finding


@dataclass(frozen=True)
class Notice(Finding):
    """Nothing is wrong, but a person should know it: mails reach people, a clock is held."""


@dataclass(frozen=True)
class Section:
    """What was found in one place: the warehouse, sending, an account."""

    title: str
    findings: tuple[Finding, ...]


def notice(what: str, says: str) -> Notice:
    """A finding that asks for attention and for nothing else."""
    return Notice(what, is_ok=True, says=says)


def ok(what: str, says: str) -> Finding:
    """A finding that asks for nothing."""
    return Finding(what, is_ok=True, says=says)


def bad(what: str, says: str) -> Finding:
    """A finding that somebody has to act on; `says` ends with what to do."""
    return Finding(what, is_ok=False, says=says)


def problems(sections: Iterable[Section]) -> int:
    """How many findings somebody has to act on."""
    return sum(not finding.is_ok for section in sections for finding in section.findings)


def mark(finding: Finding) -> str:
    """`ok`, `!!` for what has to be mended, `->` for what should be known."""
    if not finding.is_ok:
        return "!!"
    return "->" if isinstance(finding, Notice) else "ok"


def render(sections: list[Section]) -> str:
    """The report as a person reads it, one block a place, aligned."""
    width = max((len(f.what) for section in sections for f in section.findings), default=0)
    lines: list[str] = []
    for section in sections:
        lines.append(section.title)
        for finding in section.findings:
            # A second line of a message stands under its first one.
            says = finding.says.replace("\n", "\n" + " " * (width + 8))
            lines.append(f"  {mark(finding)}  {finding.what:<{width}}  {says}")
        lines.append("")
    found = problems(sections)
    lines.append(f"{found} to mend (marked !!)" if found else "everything is ok")
    return "\n".join(lines)


def as_json(sections: list[Section]) -> str:
    """The report for a program."""
    places = [
        {
            "title": section.title,
            "findings": [
                {
                    "what": finding.what,
                    "is_ok": finding.is_ok,
                    "is_notice": isinstance(finding, Notice),
                    "says": finding.says,
                }
                for finding in section.findings
            ],
        }
        for section in sections
    ]
    return json.dumps({"is_ok": problems(sections) == 0, "sections": places}, indent=2)
