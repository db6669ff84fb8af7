"""Where the users' files and the SQL live."""

from __future__ import annotations

import os
from pathlib import Path

from marketing_ops.errors import FatalError

INCLUDE_VARIABLE = "MARKETING_OPS_INCLUDE"


def include_root() -> Path:
    """The folder with settings.yaml, sources, segments, campaigns, content and sql.

    In this order: `MARKETING_OPS_INCLUDE`; `include/` beside the `plugins/` this package lies in
    (a checkout, or a deployment that copied both); `$AIRFLOW_HOME/include`.

    Raises:
        FatalError: none of them exists.
    """
    named = os.environ.get(INCLUDE_VARIABLE)
    candidates = [Path(named)] if named else [Path(__file__).resolve().parents[2] / "include"]
    if not named and "AIRFLOW_HOME" in os.environ:
        candidates.append(Path(os.environ["AIRFLOW_HOME"]) / "include")
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    looked = ", ".join(str(candidate) for candidate in candidates)
    raise FatalError(
        f"no include folder at {looked}: copy include/ beside plugins/ or set {INCLUDE_VARIABLE}"
    )
