"""One process: the shop's API, the mailbox and the control API, over one seeded store."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from marketing_ops import clock
from sandbox.control import Control
from sandbox.faults import Faults, Requests
from sandbox.hubspot.endpoint import HubSpot
from sandbox.mail import MailSandbox
from sandbox.mailchimp.endpoint import Mailchimp
from sandbox.shopify.endpoint import Shopify
from sandbox.shopify.webhooks import Webhooks
from sandbox.shopify.world import World

log = logging.getLogger("sandbox")
EVERY_SECONDS = 2.0


class Sandbox:
    """The simulated systems of one data folder."""

    def __init__(self, shop: Path, data_dir: Path, base_url: Callable[[], str]) -> None:
        # Without a name for the clock's file nobody could set the clock: see control.py.
        os.environ.setdefault(clock.CLOCK_FILE_VARIABLE, str(data_dir / "clock"))
        self.faults, self.requests = Faults(), Requests()
        self.mail = MailSandbox(data_dir)
        self.world = World(shop, base_url, self.faults)
        self.webhooks = Webhooks(self.world)
        self.world.on_bulk = self.webhooks.finished
        self.shopify = Shopify(self.world, self.requests)
        self.control = Control(
            self.world,
            self.mail,
            self.faults,
            self.requests,
            self.webhooks,
            self.shopify.bucket.fill,
        )
        self.hubspot = HubSpot(data_dir, self.world, base_url, self.faults, self.requests)
        self.control.deliveries.append(self.hubspot.deliver)
        self.control.systems["hubspot"] = self.hubspot.state
        self.mailchimp = Mailchimp(data_dir, self.world, base_url, self.faults, self.requests)
        self.control.deliveries.append(self.mailchimp.deliver)
        self.control.systems["mailchimp"] = self.mailchimp.state
        self._stopped = threading.Event()

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/", self.index),
            *self.shopify.routes(),
            *self.hubspot.routes(),
            *self.mailchimp.routes(),
            *self.control.routes(),
            *self.mail.routes(),
        ]
        return Starlette(routes=routes)

    def start(self, smtp_port: int) -> int:
        """Start SMTP and the work in the background; returns the SMTP port."""
        port = self.mail.start(smtp_port)
        threading.Thread(target=self._live, name="sandbox-life", daemon=True).start()
        return port

    def stop(self) -> None:
        """End the background work and SMTP."""
        self._stopped.set()
        self.mail.stop()

    def _live(self) -> None:
        """While nobody holds the clock: readers and webhooks do what is due, every two seconds."""
        while not self._stopped.wait(EVERY_SECONDS):
            if self.control.is_frozen():
                continue
            try:
                self.control.perform_due()
            except Exception:
                # One failed round must not end the sandbox's life; the next one tries again.
                log.exception("a round of readers and webhooks failed")

    async def index(self, _request: Request) -> Response:
        """What there is here."""
        return HTMLResponse(
            "<!doctype html><title>Sandbox</title><h1>Sandbox</h1><ul>"
            '<li><a href="/mail/">Mailbox</a></li>'
            '<li><a href="/_sandbox/state">State</a></li>'
            '<li><a href="/_sandbox/requests">Requests</a></li>'
            '<li><a href="/_sandbox/faults">Faults</a></li></ul>'
        )
