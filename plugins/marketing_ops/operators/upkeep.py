"""Watches and maintains the warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from marketing_ops import clock
from marketing_ops.errors import DefinitionError, FatalError
from marketing_ops.operators.base import Counts, MarketingOpsOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from marketing_ops.warehouse import Warehouse


class RunCheckOperator(MarketingOpsOperator):
    """Runs one check; fails when it finds something, which opens one incident for the cause.

    Args:
        check: a file of include/sql/checks.
    """

    template_fields = ("check",)
    is_live_only: ClassVar[bool] = True

    def __init__(self, *, check: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check = check

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.watch import run_check

        result = run_check(warehouse, self.check, clock.now())
        if not result.is_ok:
            raise FatalError(str(result))
        return {"failing_rows": 0}


class MaintainOperator(MarketingOpsOperator):
    """Creates the partitions of the coming months."""

    is_live_only: ClassVar[bool] = True

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        from marketing_ops.maintenance import make_partitions

        created = make_partitions(warehouse, clock.now())
        for table, count in created.items():
            self.report(f"{table}: {count} partitions created")
        return dict(created)


class BrokenFilesOperator(MarketingOpsOperator):
    """Fails with what is wrong in the users' files; stands in a DAG only while files are broken.

    Args:
        problems: one line a problem, with file, line and key.
    """

    def __init__(self, *, problems: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problems = list(problems)

    def work(self, warehouse: Warehouse, context: Context) -> Counts:
        raise DefinitionError("\n".join(self.problems))
