"""`python -m sandbox serve`: the simulated systems on this machine."""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from marketing_ops.errors import MarketingOpsError

DEFAULT_PORT, DEFAULT_SMTP_PORT = 8070, 8025


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    options.arguments = given
    if options.command == "urls":
        return _urls(options)
    try:
        return _serve(options)
    except (OSError, ValueError, MarketingOpsError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="seed what is missing and serve until interrupted")
    urls = commands.add_parser("urls", help="print each system's address")
    for one in (serve, urls):
        one.add_argument("--port", type=int, default=DEFAULT_PORT)
        one.add_argument("--smtp-port", type=int, default=DEFAULT_SMTP_PORT)
        one.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--data-dir", type=Path, default=Path(".demo/sandbox"))
    serve.add_argument("--data", type=Path, help="a folder of CSV files, see docs/sandbox.md")
    serve.add_argument("--small", action="store_true", help="60 households, the last 60 days")
    serve.add_argument("--timezone", help="the shop's zone; default: the reporting time zone")
    serve.add_argument("--fresh", action="store_true", help="seed again when a week has passed")
    serve.add_argument("--seed-only", action="store_true", help="seed and exit")
    urls.add_argument("--json", action="store_true")
    return parser


def addresses(host: str, port: int, smtp_port: int) -> dict[str, str]:
    """Each simulated system's base URL."""
    base = f"http://{host}:{port}"
    return {
        "shopify": f"{base}/shopify",
        "hubspot": f"{base}/hubspot",
        "mailchimp": f"{base}/mailchimp",
        "smtp": f"smtp://{host}:{smtp_port}",
        "mailbox": f"{base}/mail/",
        "control": f"{base}/_sandbox",
    }


def _urls(options: argparse.Namespace) -> int:
    found = addresses(options.host, options.port, options.smtp_port)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for name, url in found.items():
            print(f"{name:<10}{url}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    zone = options.timezone or _reporting_timezone()
    if options.seed_only:
        _seed(options, zone)
        return 0
    # Bound before the seed is made, so that a taken port is known at once.
    listener = _listener(options.host, options.port)
    shop = _seed(options, zone)
    import uvicorn

    from sandbox.app import Sandbox

    port = listener.getsockname()[1]
    sandbox = Sandbox(shop, options.data_dir, lambda: f"http://{options.host}:{port}")
    smtp_port = sandbox.start(options.smtp_port)
    for name, url in addresses(options.host, port, smtp_port).items():
        print(f"{name:<10}{url}", flush=True)
    config = uvicorn.Config(
        sandbox.app(), log_level="warning", access_log=False, timeout_graceful_shutdown=2
    )
    uvicorn.Server(config).run(sockets=[listener])
    sandbox.stop()
    return 0


def _seed(options: argparse.Namespace, zone: str) -> Path:
    """The shop's store, built when it is missing or stale.

    The real date decides how far the history is shifted, never the product's clock: that one is
    set back to live the last days again.
    """
    from sandbox import seed

    source = seed.choose(options.data, small=options.small)
    path: Path = options.data_dir / "shop.sqlite"
    now, started = int(time.time()), time.monotonic()
    if seed.is_current(path, source, now=now, zone=zone, is_fresh=options.fresh):
        return path
    if options.seed_only:
        seed.build(path, source, now=now, zone=zone, report=_report)
        _report(f"seeded in {time.monotonic() - started:.1f} s")
    else:
        # In a process of its own, which takes the memory it needed with it.
        command = [sys.executable, "-m", "sandbox", *options.arguments, "--seed-only"]
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own arguments
            raise OSError("the shop could not be seeded: see the lines above")
    return path


def _report(line: str) -> None:
    print(line, flush=True)


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"port {port} is taken: choose another with --port ({error})") from error
    return listener


def _reporting_timezone() -> str:
    from marketing_ops import settings

    return settings.settings().reporting_timezone


if __name__ == "__main__":
    sys.exit(main())
