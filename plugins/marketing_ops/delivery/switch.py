"""The stop switch: faster than sending, and it needs nothing but Postgres."""

from __future__ import annotations

from marketing_ops import clock
from marketing_ops.errors import FatalError
from marketing_ops.warehouse import Warehouse, audit
from marketing_ops.yamlfile import did_you_mean

EVERYTHING = "all"


def stop_sends(warehouse: Warehouse, scope: str, actor: str, reason: str = "") -> None:
    """Stop every send of `scope`; delivery reads the switch in each chunk it takes.

    Args:
        scope: `all`, or a brand.
        actor: who did it, for the audit log.
        reason: why; must hold no personal data.

    Raises:
        FatalError: no campaign and no account is of that brand.
    """
    _set(warehouse, scope, actor, reason, is_stopped=True)


def resume_sends(warehouse: Warehouse, scope: str, actor: str, reason: str = "") -> None:
    """Let the sends of `scope` go on. What became too late meanwhile is cancelled, not sent.

    A brand stays stopped while `all` is, and the other way round.

    Raises:
        FatalError: no campaign and no account is of that brand.
    """
    _set(warehouse, scope, actor, reason, is_stopped=False)


def is_stopped(warehouse: Warehouse, scope: str = EVERYTHING) -> bool:
    """Whether sends of `scope` are stopped, by their own switch or by the one for `all`."""
    row = warehouse.execute(
        "select exists (select from mkt_ops.stop_switch where is_stopped and scope = any(%s))",
        ([EVERYTHING, scope],),
    ).fetchone()
    return bool(row and row[0])


def _set(warehouse: Warehouse, scope: str, actor: str, reason: str, *, is_stopped: bool) -> None:
    _check_scope(warehouse, scope)
    with warehouse.transaction():
        warehouse.execute(
            "insert into mkt_ops.stop_switch (scope, is_stopped, actor, reason, changed_at)"
            " values (%(scope)s, %(is_stopped)s, %(actor)s, %(reason)s, %(now)s)"
            " on conflict (scope) do update set is_stopped = excluded.is_stopped,"
            " actor = excluded.actor, reason = excluded.reason, changed_at = excluded.changed_at",
            {
                "scope": scope,
                "is_stopped": is_stopped,
                "actor": actor,
                "reason": reason,
                "now": clock.now(),
            },
        )
        action = "stop_sends" if is_stopped else "resume_sends"
        audit(warehouse, actor, action, scope, {"reason": reason})


def _check_scope(warehouse: Warehouse, scope: str) -> None:
    """A misspelt brand would stop nobody: refuse it. The files are not read, only Postgres."""
    if scope == EVERYTHING:
        return
    rows = warehouse.execute(
        "select brand from mkt_engage.campaigns"
        " union select brand from mkt_ops.sending_modes where brand is not null"
    )
    known = {str(brand) for (brand,) in rows}
    if scope not in known:
        hint = did_you_mean(scope, known)
        raise FatalError(f"`{scope}` is no brand that sends: use `all` or a brand.{hint}")
