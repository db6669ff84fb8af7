"""Each account: its file, its connection, and what its vendor answers, all at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

from marketing_ops import settings
from marketing_ops.connections import Connection, Resolver
from marketing_ops.doctor.report import Section, bad, ok
from marketing_ops.errors import MarketingOpsError
from marketing_ops.settings import Source
from marketing_ops.sources import base, registry
from marketing_ops.sources.base import Finding
from marketing_ops.sync.account import AccountShare, CommandShare
from marketing_ops.warehouse import connect


class Visit:
    """One account, looked at in a thread of its own; `findings` grow while it runs.

    The thread is a daemon: a vendor that never answers must not keep the command from ending.
    """

    def __init__(self, source: Source, resolve: Resolver, *, is_offline: bool) -> None:
        self.source, self.findings = source, [ok("file", f"include/sources/{source.source}.yaml")]
        self._resolve, self._is_offline = resolve, is_offline
        self._thread = threading.Thread(target=self._look, name=source.source, daemon=True)
        self._thread.start()

    def result(self, until: float) -> Section:
        """What was found by the monotonic instant `until`."""
        self._thread.join(max(until - time.monotonic(), 0.0))
        found = list(self.findings)
        if self._thread.is_alive():
            found.append(
                bad("time", "no full answer in time: see that this machine may reach the vendor")
            )
        return Section(f"{self.source.source} ({self.source.system})", tuple(found))

    def _look(self) -> None:
        try:
            for finding in self._steps():
                self.findings.append(finding)
        except MarketingOpsError as error:
            self.findings.append(bad("answer", str(error)))
        except Exception as error:
            # A vendor's surprise may hide no other account; its text could quote a person.
            self.findings.append(
                bad("answer", f"the check broke off ({type(error).__name__}): report this")
            )

    def _steps(self) -> Iterator[Finding]:
        system = registry.system(self.source.system)
        if system.streams:
            yield _streams(self.source, system)
        try:
            connection = self._resolve(self.source.connection)
        except MarketingOpsError as error:
            yield bad("connection", str(error))
            return
        yield _connection(connection, system)
        if self._is_offline or system.check is None or system.client is None:
            return
        share = AccountShare(lambda: connect(self._resolve), self.source.source, connection)
        with closing(share):
            client = system.client(connection, self.source.quota_share, CommandShare(share))
            yield from system.check(client)


def accounts(
    names: list[str], resolve: Resolver, *, is_offline: bool, patience: float
) -> list[Section]:
    """A section for each account (all of include/sources without names), in their order.

    Raises:
        FatalError: a named account has no file; says the nearest name.
    """
    found, problems = settings.sources()
    broken: dict[str, list[Finding]] = {}
    for problem in problems:
        broken.setdefault(problem.path.stem, []).append(bad("file", str(problem)))
    for name in names:
        if name not in broken:
            settings.source(name)
    wanted = set(names) or {*found, *broken}
    until = time.monotonic() + patience
    visits = [
        Visit(source, resolve, is_offline=is_offline)
        for name, source in found.items()
        if name in wanted
    ]
    wrong = [Section(name, tuple(broken[name])) for name in sorted(set(broken) & wanted)]
    return [*wrong, *(visit.result(until) for visit in visits)]


def _streams(source: Source, system: base.Source) -> Finding:
    unknown = sorted(name for name in source.streams if system.stream(name) is None)
    if unknown:
        return bad("streams", f"{system.system} has no {', '.join(unknown)}: correct the file")
    return ok("streams", ", ".join(source.streams) or "none in the file")


def _connection(connection: Connection, system: base.Source) -> Finding:
    kind = system.form.conn_type
    if connection.conn_type not in ("", kind):
        return bad("connection", f"{connection.conn_id} is of another type: make it {kind}")
    return ok("connection", f"{connection.conn_id} found")
