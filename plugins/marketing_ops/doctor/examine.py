"""The whole examination: what `marketing-ops doctor` calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing

from marketing_ops import warehouse
from marketing_ops.connections import Resolver
from marketing_ops.doctor.accounts import accounts
from marketing_ops.doctor.report import Section, bad, ok
from marketing_ops.doctor.sending import sending
from marketing_ops.doctor.warehouse import grants, is_migrated, leftovers, server, version
from marketing_ops.errors import MarketingOpsError
from marketing_ops.sources.base import Finding
from marketing_ops.warehouse import Warehouse, translated_errors

PATIENCE_SECONDS = 60.0


def examine(
    names: list[str],
    resolve: Resolver,
    *,
    is_offline: bool = False,
    patience: float = PATIENCE_SECONDS,
) -> list[Section]:
    """The warehouse, sending and the accounts, whatever is wrong with one of them.

    Args:
        names: only these accounts; none = all.
        resolve: finds connections.
        is_offline: look at files and connections only; nobody is called.
        patience: how many seconds all vendors together have to answer.

    Raises:
        FatalError: a named account does not exist.
    """
    found = accounts(names, resolve, is_offline=is_offline, patience=patience)
    return [*_warehouse(resolve, is_offline=is_offline), *found]


def _warehouse(resolve: Resolver, *, is_offline: bool) -> list[Section]:
    try:
        address = resolve(warehouse.WAREHOUSE_CONNECTION)
        if is_offline:
            return [Section("warehouse", (ok("connection", f"{address.conn_id} found"),))]
        opened = warehouse.open_warehouse(address, application="marketing-ops doctor")
    except MarketingOpsError as error:
        unknown = bad("verdict", "unknown whether something can send: mend the warehouse first")
        return [
            Section("warehouse", (bad("server", str(error)),)),
            Section("sending", (unknown,)),
        ]
    with closing(opened):
        seen = [*_tried("server", server, opened), *_tried("version", version, opened)]
        seen += _tried("grants", grants, opened)
        if not is_migrated(opened):
            reach = [ok("verdict", "nothing can send: the warehouse is not migrated")]
            return [Section("warehouse", tuple(seen)), Section("sending", tuple(reach))]
        seen += _tried("leftovers", leftovers, opened)
        reach = _tried("verdict", sending, opened)
    return [Section("warehouse", tuple(seen)), Section("sending", tuple(reach))]


def _tried(
    what: str, look: Callable[[Warehouse], Iterable[Finding]], opened: Warehouse
) -> list[Finding]:
    """What one look found; an error of Postgres ends that look alone."""
    found: list[Finding] = []
    try:
        with translated_errors():
            found.extend(look(opened))
    except MarketingOpsError as error:
        found.append(bad(what, str(error)))
    return found
