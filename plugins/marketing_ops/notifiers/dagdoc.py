"""What a DAG's docstring says to on-call, by heading."""

from __future__ import annotations

import re

HEADINGS = (
    "Owner",
    "Reads",
    "Writes",
    "Safe to rerun",
    "Meaning",
    "Impact",
    "Diagnosis",
    "Mitigation",
)
"""Every DAG's docstring has these, in this order, as `- **Heading:** text`."""


def sections(doc: str | None) -> dict[str, str]:
    """Heading -> text on one line; a heading that is missing is missing here too."""
    found = re.findall(r"^- \*\*([^*]+):\*\* (.+(?:\n  .+)*)", doc or "", flags=re.MULTILINE)
    return {heading: re.sub(r"\s+", " ", text).strip() for heading, text in found}
