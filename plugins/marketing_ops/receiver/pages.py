"""The few pages a person sees when following a link: readable without CSS, working without JS."""

from __future__ import annotations

from html import escape

PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
"""A transparent GIF of one pixel."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
body {{ margin: 0; background: #f4f4f1; color: #232823; font: 17px/1.55 system-ui, sans-serif; }}
main {{ max-width: 30rem; margin: 12vh auto; padding: 2rem; background: #fff;
  border-radius: 10px; }}
h1 {{ font-size: 1.4rem; margin: 0 0 0.8rem; }}
button {{ padding: 0.7rem 1.4rem; border: 0; border-radius: 6px; background: #14432f; color: #fff;
  font: inherit; cursor: pointer; }}
button:focus-visible {{ outline: 3px solid #c8501e; outline-offset: 2px; }}
</style>
</head>
<body><main><h1>{title}</h1>{body}</main></body>
</html>
"""


def ask(brand: str) -> str:
    """The page behind an unsubscribe link; its button sends what one-click clients send."""
    body = (
        f"<p>You will get no more marketing mail from {escape(brand)}. Mails about your orders"
        ' still come.</p><form method="post"><input type="hidden" name="List-Unsubscribe"'
        ' value="One-Click"><button>Unsubscribe</button></form>'
    )
    return _PAGE.format(title=f"Unsubscribe from {escape(brand)}?", body=body)


def done(brand: str) -> str:
    """After the button."""
    body = f"<p>You will get no more marketing mail from {escape(brand)}.</p>"
    return _PAGE.format(title="You are unsubscribed", body=body)


def broken() -> str:
    """A link that we did not make."""
    body = (
        "<p>Please open it again from the mail: it may have been cut off. Nothing was changed.</p>"
    )
    return _PAGE.format(title="This link is not complete", body=body)


def later() -> str:
    """The warehouse is away: nothing was stored, so nothing is promised."""
    body = "<p>We could not store your wish just now. Please try again in a few minutes.</p>"
    return _PAGE.format(title="Please try again", body=body)
