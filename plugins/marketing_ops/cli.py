"""The command `marketing-ops`: what a person types. Exit code 0 done, 1 a problem, 2 usage."""

from __future__ import annotations

import argparse
import getpass
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from marketing_ops import __version__, clock, deployment, migration_plan, warehouse
from marketing_ops.connections import from_environment
from marketing_ops.errors import MarketingOpsError
from marketing_ops.settings import settings
from marketing_ops.warehouse import translated_errors
from marketing_ops.window import Window


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors of ours are printed as one sentence, never as a traceback."""
    parser = _parser()
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        with translated_errors():
            return run(options)
    except MarketingOpsError as error:
        print(f"marketing-ops: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="marketing-ops",
        description="Marketing automation as code on Apache Airflow.",
        epilog="The warehouse and the accounts are found in AIRFLOW_CONN_* variables.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    command("lint", _lint, "Check every file below include/, offline.")
    migrating = command("migrate", _migrate, "Create or upgrade the warehouse's tables and views.")
    migrating.add_argument("--plan", action="store_true", help="show what it would do; do nothing")
    applying = command("apply", _apply, "Take over pools and sending modes from include/sources.")
    applying.add_argument("--no-pools", action="store_true", help="leave Airflow's pools alone")
    looking = command(
        "doctor", _doctor, "Look at all that sends, syncs and stores; say what to do."
    )
    looking.add_argument("account", nargs="*", help="only these accounts (default: all)")
    looking.add_argument("--offline", action="store_true", help="files and connections only")
    looking.add_argument("--json", action="store_true", help="for a program")
    estimating = command("estimate", _estimate, "Say what a full read of an account will take.")
    estimating.add_argument("account")
    estimating.add_argument(
        "stream", nargs="*", help="only these streams (default: all that are on)"
    )
    preview = command("preview", _preview, "Show who is in a segment, before it is used.")
    preview.add_argument("kind", choices=["segment"])
    preview.add_argument("name")
    when = preview.add_mutually_exclusive_group()
    when.add_argument("--as-of", metavar="T", help="true at T by all we know now")
    when.add_argument("--known-at", metavar="T", help="what we knew at T")
    preview.add_argument("--explain", action="store_true", help="show Postgres's plan too")
    for name, text in (
        ("stop-sends", "Stop every send within seconds; needs only Postgres."),
        ("resume-sends", "Let sends go on after stop-sends."),
    ):
        switch = command(name, _switch, text)
        switch.set_defaults(is_stopping=name == "stop-sends")
        switch.add_argument("--brand", default="all", help="one brand only (default: all)")
        switch.add_argument("--reason", default="", help="kept in the audit log")
    command("unknown-sends", _unknown, "List the sends whose outcome is unknown.")
    settling = command("settle-send", _settle, "Record what a server's log proves about a send.")
    settling.add_argument("send_id", type=int)
    settling.add_argument("outcome", choices=["accepted", "rejected"])
    explaining = command("explain", _explain, "Say why each thing happened to a contact.")
    explaining.add_argument("kind", choices=["contact"])
    explaining.add_argument("contact_id", type=int)
    receiving = command("receive", _receive, "Serve unsubscribe, open and click links.")
    receiving.add_argument("--host", default="127.0.0.1")
    receiving.add_argument("--port", type=int, default=8090)
    boxed = command("sandbox", _sandbox, "Serve the simulated vendors of this repository.")
    boxed.add_argument("--json", action="store_true", help="print each system's base URL and stop")
    boxed.add_argument("rest", nargs=argparse.REMAINDER, help="arguments of `python -m sandbox`")
    syncing = command("sync", _sync, "Read one stream of one account now, as its DAG does.")
    syncing.add_argument("account", help="a file of include/sources")
    syncing.add_argument("stream")
    syncing.add_argument("--from", dest="start", metavar="T", help="a backfill from T; needs --to")
    syncing.add_argument("--to", dest="end", metavar="T", help="its end, exclusive")
    syncing.add_argument("--full-refresh", action="store_true", help="read everything again")
    comparing = command("reconcile", _reconcile, "Compare a stream with its source and repair it.")
    comparing.add_argument("account", help="a file of include/sources")
    comparing.add_argument("stream")
    replaying = command("replay", _replay, "Try an account's rejected records again.")
    replaying.add_argument("account", help="a file of include/sources")
    replaying.add_argument("stream", nargs="?", default="all")
    replaying.add_argument("--apply", action="store_true", help="do it, do not only say it")
    command("summary", _summary, "Print books, audiences, sends and main KPIs.")
    return parser


def _lint(_options: argparse.Namespace) -> int:
    problems = deployment.problems()
    for problem in problems:
        print(problem)
    checked = deployment.file_count()
    if problems:
        print(f"{len(problems)} problem(s) in {checked} files", file=sys.stderr)
        return 1
    print(f"{checked} files are fine")
    return 0


def _migrate(options: argparse.Namespace) -> int:
    with warehouse.connect(application="marketing-ops migrate") as connection:
        if options.plan:
            planned = migration_plan.plan(connection)
            print(migration_plan.render(planned))
            return 0 if planned.is_possible else 1
        done = warehouse.migrate(connection)
    print("\n".join(f"applied {name}" for name in done) if done else "nothing to migrate")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from marketing_ops.doctor import report
    from marketing_ops.doctor.examine import examine

    found = examine(options.account, from_environment, is_offline=options.offline)
    print(report.as_json(found) if options.json else report.render(found))
    return 1 if report.problems(found) else 0


def _estimate(options: argparse.Namespace) -> int:
    from marketing_ops.sync.estimate import estimates

    for found in estimates(options.account, options.stream, from_environment):
        print(found.line(), flush=True)
    return 0


def _apply(options: argparse.Namespace) -> int:
    with warehouse.connect(application="marketing-ops apply") as connection:
        warehouse.check_version(connection)
        for line in deployment.apply(connection, from_environment, getpass.getuser()):
            print(line)
    if not options.no_pools:
        pools = json.dumps(deployment.pools())
        command = ["airflow", "pools", "import", "/dev/stdin"]
        done = subprocess.run(command, input=pools, text=True, capture_output=True, check=False)  # noqa: S603
        if done.returncode != 0:
            print(
                "marketing-ops: Airflow did not take the pools: run this where Airflow is"
                " configured, or pass --no-pools",
                file=sys.stderr,
            )
            return 1
        print(f"{len(deployment.pools())} pools are set")
    return 0


def _preview(options: argparse.Namespace) -> int:
    from marketing_ops.segments import preview

    with warehouse.connect(application="marketing-ops preview") as connection:
        warehouse.check_version(connection)
        shown = preview.preview(
            connection,
            options.name,
            as_of=_instant(options.as_of),
            known_at=_instant(options.known_at),
            explain=options.explain,
        )
    print(preview.render(shown))
    return 0


def _switch(options: argparse.Namespace) -> int:
    from marketing_ops.delivery import switch

    with warehouse.connect(application="marketing-ops switch") as connection:
        act = switch.stop_sends if options.is_stopping else switch.resume_sends
        act(connection, options.brand, getpass.getuser(), options.reason)
    state = "stopped: nothing is sent" if options.is_stopping else "resumed"
    print(f"sends of {options.brand} are {state}")
    return 0


def _unknown(_options: argparse.Namespace) -> int:
    from marketing_ops.delivery import unknowns

    with warehouse.connect(application="marketing-ops unknown-sends") as connection:
        print(unknowns.render(unknowns.list_unknown(connection)))
    return 0


def _settle(options: argparse.Namespace) -> int:
    from marketing_ops.delivery import unknowns

    with warehouse.connect(application="marketing-ops settle-send") as connection:
        unknowns.settle(connection, options.send_id, options.outcome, getpass.getuser())
    print(f"send {options.send_id} is {options.outcome} now")
    return 0


def _explain(options: argparse.Namespace) -> int:
    from marketing_ops.campaigns import explain

    with warehouse.connect(application="marketing-ops explain") as connection:
        warehouse.check_version(connection)
        lines = explain.contact(connection, options.contact_id)
    print("\n".join(lines) or f"contact {options.contact_id} never entered a campaign")
    return 0


def _receive(options: argparse.Namespace) -> int:
    from marketing_ops import receiver

    receiver.serve(options.host, options.port)
    return 0


def _sandbox(options: argparse.Namespace) -> int:
    rest = ["urls", "--json"] if options.json else (options.rest or ["serve"])
    done = subprocess.run([sys.executable, "-m", "sandbox", *rest], check=False)  # noqa: S603
    return done.returncode


def _sync(options: argparse.Namespace) -> int:
    from marketing_ops.sync.runner import sync_stream

    start, end = _instant(options.start), _instant(options.end)
    if (start is None) != (end is None):
        raise MarketingOpsError("a backfill needs both --from and --to")
    if start and options.full_refresh:
        raise MarketingOpsError("a full refresh reads everything, a backfill only a part")
    now = clock.now()
    with warehouse.connect(application="marketing-ops sync") as connection:
        done = sync_stream(
            connection,
            options.account,
            options.stream,
            Window(start or now, end or now),
            kind="backfill" if start else "full_refresh" if options.full_refresh else None,
            resolve=from_environment,
            report=print,
        )
    for stream, counts in done.counts.items():
        said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        print(f"{options.account} {stream} ({done.kind}): {said or 'nothing new'}")
    return 0


def _reconcile(options: argparse.Namespace) -> int:
    from marketing_ops.sync.reconcile import reconcile_stream

    with warehouse.connect(application="marketing-ops reconcile") as connection:
        reconcile_stream(
            connection, options.account, options.stream, resolve=from_environment, report=print
        )
    return 0


def _replay(options: argparse.Namespace) -> int:
    from marketing_ops.sync.replay import replay_rejected, waiting_streams

    with warehouse.connect(application="marketing-ops replay") as connection:
        waiting = waiting_streams(connection, options.account)
        wanted = [name for name in waiting if options.stream in ("all", name)]
        for stream in wanted:
            replay_rejected(
                connection,
                options.account,
                stream,
                resolve=from_environment,
                is_dry_run=not options.apply,
                report=print,
            )
    if not wanted:
        print(f"no rejected record of {options.account} waits")
    elif not options.apply:
        print("nothing was changed: add --apply to do it")
    return 0


def _summary(_options: argparse.Namespace) -> int:
    from marketing_ops.kpis import summary

    with warehouse.connect(application="marketing-ops summary") as connection:
        warehouse.check_version(connection)
        found = summary.demo_summary(connection)
    print(summary.render(found))
    return 0 if found.is_balanced else 1


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise MarketingOpsError(f"`{text}` is not an instant: write 2026-06-01T12:00") from error
    zone = ZoneInfo(settings().reporting_timezone)
    return instant if instant.tzinfo else instant.replace(tzinfo=zone)


if __name__ == "__main__":
    sys.exit(main())
