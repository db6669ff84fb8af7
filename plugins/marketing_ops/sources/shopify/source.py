"""What the product knows of Shopify: its connection form, client, reader and streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marketing_ops.sources.base import ConnectionForm, Page, ReadRequest, Source, Stream
from marketing_ops.sources.shopify import bulk, check, client, compare, pages
from marketing_ops.sources.shopify.streams import STREAMS


def read(shop: Any, stream: Stream, request: ReadRequest) -> Iterator[Page]:
    """Read a stream as one bulk file or page by page, as the request says."""
    return (
        bulk.read(shop, stream, request) if request.is_bulk else pages.read(shop, stream, request)
    )


SHOPIFY = Source(
    system="shopify",
    form=ConnectionForm(
        conn_type="marketing_ops_shopify",
        hook_name="Marketing Ops: Shopify",
        hook_class="marketing_ops.sources.shopify.hook.ShopifyHook",
        hidden=("schema", "port", "extra"),
        relabeling={
            "host": "Shop",
            "login": "Client id (empty with an access token)",
            "password": "Access token or client secret",
        },
        placeholders={"host": "example.myshopify.com", "password": "shpat_..."},
    ),
    client=client.build,
    read=read,
    streams=STREAMS,
    count=compare.count,
    keys=compare.keys,
    fetch=compare.fetch,
    quota=compare.quota,
    check=check.check,
    has_webhooks=True,
)
