"""The mailbox in the browser: a list, one mail, and the same as JSON."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import BaseRoute, Route

from sandbox.mail_store import MailStore, Stored

PAGE_SIZE = 50

_pages = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("mail_templates")),
    autoescape=select_autoescape(),
    trim_blocks=True,
    lstrip_blocks=True,
)


def mail_routes(store: MailStore) -> list[BaseRoute]:
    """The mailbox's routes over `store`. Endpoints run in threads: the store is a local file."""

    def mailbox(request: Request) -> Response:
        to = request.query_params.get("to", "").strip()
        page = max(_number(request.query_params.get("page"), 1), 1)
        total = store.count(to=to)
        pages = max((total + PAGE_SIZE - 1) // PAGE_SIZE, 1)
        page = min(page, pages)
        found = store.find(to=to, limit=PAGE_SIZE, offset=(page - 1) * PAGE_SIZE)
        values = {"mails": found, "to": to, "page": page, "pages": pages, "total": total}
        values["link"] = lambda number: "?" + urlencode({"to": to, "page": number})
        return HTMLResponse(_pages.get_template("list.html").render(values))

    def one(request: Request) -> Response:
        found = store.get(request.path_params["number"])
        if found is None:
            return _missing()
        stored, raw = found
        message = _parse(raw)
        values = {
            "mail": stored,
            "headers": list(message.items()),
            "text": _part(message, "plain"),
            "has_html": bool(_part(message, "html")),
            "source": raw.decode("utf-8", "replace"),
            "actions": store.actions(stored.id),
            "images": "1" if request.query_params.get("images") == "1" else "",
        }
        return HTMLResponse(_pages.get_template("message.html").render(values))

    def body(request: Request) -> Response:
        found = store.get(request.path_params["number"])
        if found is None:
            return _missing()
        # Looking at a mail here must not count as an open: images load only when asked for.
        images = "* data:" if request.query_params.get("images") == "1" else "data:"
        policy = (
            f"default-src 'none'; style-src 'unsafe-inline'; img-src {images};"
            " sandbox allow-popups allow-popups-to-escape-sandbox"
        )
        content = _part(_parse(found[1]), "html")
        return HTMLResponse(
            f'<base target="_blank">{content}', headers={"content-security-policy": policy}
        )

    def source(request: Request) -> Response:
        found = store.get(request.path_params["number"])
        return PlainTextResponse(found[1]) if found else _missing()

    def api(request: Request) -> Response:
        to = request.query_params.get("to", "")
        limit = min(max(_number(request.query_params.get("limit"), PAGE_SIZE), 1), 1000)
        offset = max(_number(request.query_params.get("offset"), 0), 0)
        found = store.find(to=to, limit=limit, offset=offset)
        return JSONResponse(
            {"total": store.count(to=to), "mails": [_as_dict(mail) for mail in found]}
        )

    def api_one(request: Request) -> Response:
        found = store.get(request.path_params["number"])
        if found is None:
            return JSONResponse({"error": "there is no such mail"}, status_code=404)
        stored, raw = found
        message = _parse(raw)
        details = {
            "headers": [list(item) for item in message.items()],
            "text": _part(message, "plain"),
            "html": _part(message, "html"),
        }
        return JSONResponse(_as_dict(stored) | details)

    return [
        Route("/mail", lambda request: RedirectResponse("/mail/")),
        Route("/mail/", mailbox),
        Route("/mail/api", api),
        Route("/mail/api/{number:int}", api_one),
        Route("/mail/{number:int}", one),
        Route("/mail/{number:int}/html", body),
        Route("/mail/{number:int}/source", source),
    ]


def _missing() -> Response:
    return PlainTextResponse("There is no such mail: it may have been cleared.", status_code=404)


def _number(text: str | None, fallback: int) -> int:
    try:
        return int(text or fallback)
    except ValueError:
        return fallback


def _parse(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body(preferencelist=(kind,))
    return str(part.get_content()) if part is not None else ""


def _as_dict(mail: Stored) -> dict[str, object]:
    return vars(mail) | {"received_at": mail.received_at.isoformat()}
