"""Sending modes: the files propose, this puts them in force."""

from __future__ import annotations

from marketing_ops import clock
from marketing_ops import settings as configuration
from marketing_ops.settings import Source
from marketing_ops.warehouse import Warehouse, audit
from marketing_ops.yamlfile import FileProblemsError


def apply_sending_modes(warehouse: Warehouse, actor: str) -> list[str]:
    """Take `sending:` of include/sources over; an account whose file is gone is set to off.

    Returns:
        The accounts whose mode or allow list changed; each change is in the audit log.

    Raises:
        FileProblemsError: some files are wrong; their accounts keep the mode they had, the others
            were taken over.
    """
    found, problems = configuration.sources()
    wrong = {problem.path.stem for problem in problems}
    with warehouse.transaction():
        accounts = sorted({*found, *_known(warehouse)} - wrong)
        changed = [name for name in accounts if _apply(warehouse, name, found.get(name), actor)]
    if problems:
        raise FileProblemsError(problems)
    return changed


def _apply(warehouse: Warehouse, account: str, source: Source | None, actor: str) -> bool:
    mode, allow_list = _mode(source)
    changed = warehouse.execute(
        "insert into mkt_ops.sending_modes as old"
        " (account, brand, mode, allow_list, actor, changed_at)"
        " values (%(account)s, %(brand)s, %(mode)s, %(allow_list)s, %(actor)s, %(now)s)"
        " on conflict (account) do update set brand = coalesce(excluded.brand, old.brand),"
        " mode = excluded.mode, allow_list = excluded.allow_list, actor = excluded.actor,"
        " changed_at = excluded.changed_at"
        " where (old.mode, old.allow_list, old.brand) is distinct from"
        " (excluded.mode, excluded.allow_list, coalesce(excluded.brand, old.brand))"
        " returning 1",
        {
            "account": account,
            "brand": source.brand if source else None,
            "mode": mode,
            "allow_list": allow_list,
            "actor": actor,
            "now": clock.now(),
        },
    ).fetchone()
    if changed is not None:
        details = {"mode": mode, "addresses": len(allow_list)}
        audit(warehouse, actor, "sending_mode", account, details)
    return changed is not None


def _mode(source: Source | None) -> tuple[str, list[str]]:
    if source is None:
        return "off", []
    if isinstance(source.sending, dict):
        return "allow_list", sorted(address.lower() for address in source.sending["allow_list"])
    return source.sending, []


def _known(warehouse: Warehouse) -> set[str]:
    rows = warehouse.execute("select account from mkt_ops.sending_modes")
    return {str(account) for (account,) in rows}
