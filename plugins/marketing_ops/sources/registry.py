"""Every vendor system by name. A new vendor is one import and one entry here."""

from __future__ import annotations

from marketing_ops import yamlfile
from marketing_ops.errors import FatalError
from marketing_ops.sources.base import Source
from marketing_ops.sources.hubspot.source import HUBSPOT
from marketing_ops.sources.mailchimp.source import MAILCHIMP
from marketing_ops.sources.shopify.source import SHOPIFY
from marketing_ops.sources.smtp.source import SMTP

SYSTEMS: dict[str, Source] = {
    source.system: source for source in (SHOPIFY, SMTP, MAILCHIMP, HUBSPOT)
}


def system(name: str) -> Source:
    """The declaration of a system.

    Raises:
        FatalError: nobody declared it; says the nearest name.
    """
    if name not in SYSTEMS:
        hint = yamlfile.did_you_mean(name, set(SYSTEMS))
        raise FatalError(f"`{name}` is not a known system.{hint}")
    return SYSTEMS[name]
