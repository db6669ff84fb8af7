"""A taken send as a mail: its frozen template, the person, signed links."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from marketing_ops import content
from marketing_ops.content import ContentError
from marketing_ops.delivery.channels import message
from marketing_ops.delivery.channels.message import Mail, Sender
from marketing_ops.delivery.ledger import Taken
from marketing_ops.receiver import tokens
from marketing_ops.receiver.tokens import LinkToken
from marketing_ops.settings import Brand
from marketing_ops.warehouse import Warehouse


@dataclass(frozen=True)
class _Frozen:
    template: dict[str, Any]
    content_hash: str


@dataclass
class Composer:
    """Writes the mails of one account; reads each campaign version's content once.

    Attributes:
        key: signs the links.
        receiver_url: where the links lead, without a trailing slash.
    """

    warehouse: Warehouse
    sender: Sender
    brand: Brand
    key: bytes
    receiver_url: str
    _versions: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    _frozen: dict[tuple[int, int, str], _Frozen] = field(default_factory=dict)

    def compose(self, taken: Taken, at: datetime) -> tuple[Mail, str] | None:
        """The mail and the hash of its template; None when the address cannot be one.

        Raises:
            ContentError: the frozen content lacks the template, or it cannot be rendered.
        """
        recipient = message.wire_address(str(taken.contact["email"]))
        if recipient is None:
            return None
        frozen = self._template(taken)
        token = LinkToken(taken.send_id, taken.contact_id, taken.brand)
        unsubscribe = f"{self.receiver_url}/u/{tokens.sign(self.key, 'u', token)}"
        rendered = content.render(frozen.template, self._variables(taken, unsubscribe))
        pixel = f"{self.receiver_url}/o/{tokens.sign(self.key, 'o', token)}.gif"

        def click(url: str) -> str:
            signed = tokens.sign(self.key, "c", token, url)
            return f"{self.receiver_url}/c/{signed}?u={quote(url, safe='')}"

        parts = message.Parts(
            subject=rendered.subject,
            html=message.track(rendered.html, click, pixel, keep=unsubscribe),
            text=rendered.text,
            unsubscribe_url=None if taken.is_transactional else unsubscribe,
        )
        label = f"{taken.campaign}/{taken.ctx.get('step', '')}"
        mail = message.build(
            self.sender, recipient, parts, send_id=taken.send_id, campaign=label, at=at
        )
        return mail, frozen.content_hash

    def _template(self, taken: Taken) -> _Frozen:
        name = str(taken.ctx.get("template", ""))
        key = (taken.campaign_id, taken.version, name)
        if key not in self._frozen:
            templates = self._content(taken.campaign_id, taken.version)
            if name not in templates:
                raise ContentError(
                    f"campaign `{taken.campaign}` version {taken.version} has no template"
                    f" `{name}`: start the campaign again with it in include/content",
                    is_template_wide=True,
                )
            template = {"name": name} | dict(templates[name])
            self._frozen[key] = _Frozen(template, content.content_hash(template))
        return self._frozen[key]

    def _content(self, campaign_id: int, version: int) -> dict[str, Any]:
        key = (campaign_id, version)
        if key not in self._versions:
            row = self.warehouse.execute(
                "select content -> 'templates' from mkt_engage.campaign_versions"
                " where campaign_id = %s and version = %s",
                key,
            ).fetchone()
            self._versions[key] = dict(row[0]) if row and row[0] else {}
        return self._versions[key]

    def _variables(self, taken: Taken, unsubscribe_url: str) -> dict[str, Any]:
        coupon = taken.ctx.get("coupon")
        return {
            "contact": taken.contact,
            "brand": {"name": self.brand.name, "postal_address": self.brand.postal_address},
            "campaign": {"name": taken.campaign, "step": taken.ctx.get("step")},
            "entry": taken.ctx.get("entry") or {},
            "unsubscribe_url": unsubscribe_url,
            "coupon": {"code": coupon} if isinstance(coupon, str) else coupon,
        }
