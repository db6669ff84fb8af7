"""Whether anything can reach people, said plainly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marketing_ops import settings, sqlfile
from marketing_ops.doctor.report import notice, ok
from marketing_ops.sources import registry
from marketing_ops.sources.base import Finding
from marketing_ops.warehouse import Warehouse


def sending(connection: Warehouse) -> list[Finding]:
    """The verdict first; then the stop switch, live campaigns, and each account's mode."""
    rows = sqlfile.execute(connection, "ops/sending_state").fetchall()
    return [
        _verdict(rows),
        *_switches(connection),
        _campaigns(connection),
        *(_mode(*row[:4]) for row in rows),
        *_not_applied({str(account): str(mode) for account, mode, *_ in rows}),
    ]


def _verdict(rows: list[Any]) -> Finding:
    """Mail goes out through an account that is not off, for a live campaign, of a brand that is
    not stopped: all three are needed."""
    ways = [
        f"{account} ({', '.join(campaigns)})"
        for account, mode, _, is_stopped, campaigns in rows
        if mode != "off" and not is_stopped and campaigns
    ]
    if not ways:
        return ok("verdict", "nothing can send")
    return notice("verdict", f"CAN SEND: {'; '.join(ways)}; `marketing-ops stop-sends` stops it")


def _switches(connection: Warehouse) -> Iterator[Finding]:
    rows = connection.execute(
        "select scope, changed_at from mkt_ops.stop_switch where is_stopped order by scope"
    ).fetchall()
    for scope, changed_at in rows:
        yield notice(
            "stop switch",
            f"{scope}: stopped since {changed_at:%Y-%m-%d %H:%M} UTC: nothing of it is sent until"
            " `marketing-ops resume-sends`",
        )
    if not rows:
        yield ok("stop switch", "not set")


def _campaigns(connection: Warehouse) -> Finding:
    rows = connection.execute(
        "select campaign from mkt_engage.campaigns where state = 'live' order by campaign"
    ).fetchall()
    if not rows:
        return ok("campaigns", "none is live")
    return notice("campaigns", f"{len(rows)} live: {', '.join(str(name) for (name,) in rows)}")


def _mode(account: str, mode: str, addresses: int, is_stopped: bool) -> Finding:
    if mode == "off":
        return ok(account, "off: reaches nobody")
    stopped = ", but stopped" if is_stopped else ""
    if mode == "live":
        return notice(account, f"live{stopped}: mails reach people")
    return notice(
        account, f"allow_list{stopped}: mails reach {addresses} addresses and nobody else"
    )


def _not_applied(in_force: dict[str, str]) -> Iterator[Finding]:
    """What a file says comes into force only by `apply`."""
    for name, source in settings.sources()[0].items():
        wanted = source.sending if isinstance(source.sending, str) else "allow_list"
        system = registry.SYSTEMS.get(source.system)
        has = in_force.get(name, "off")
        if system is not None and system.channels and wanted != has:
            yield notice(name, f"its file says {wanted}, in force is {has}: `marketing-ops apply`")
