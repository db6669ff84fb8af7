"""All checks of include/sql/checks at once, for the command line and the demo.

`watch_data` runs them one task each; a finding has the same incident, whichever way it was found.
"""

from __future__ import annotations

from datetime import datetime

from marketing_ops.incidents import cause_of, close_incidents, open_incident
from marketing_ops.paths import include_root
from marketing_ops.warehouse import Warehouse, translated_errors
from marketing_ops.watch import CheckResult, run_check

DAG = "watch_data"


def check_names() -> list[str]:
    """The checks there are: the files of include/sql/checks."""
    return sorted(path.stem for path in (include_root() / "sql" / "checks").glob("*.sql"))


def run_checks(warehouse: Warehouse, at: datetime) -> list[CheckResult]:
    """Run every check as of `at`; record results, open an incident per cause found, close the
    incidents of checks that pass. Writes nothing else, says nothing when all is well.
    """
    results = []
    for name in check_names():
        with translated_errors(), warehouse.transaction():
            result = run_check(warehouse, name, at)
            subject = f"{DAG}.{name}"
            if result.is_ok:
                close_incidents(warehouse, subject)
            else:
                open_incident(
                    warehouse, cause_of(DAG, str(result)), subject, {"findings": result.findings}
                )
        results.append(result)
    return results
