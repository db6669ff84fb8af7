"""What the product knows of Mailchimp: its connection form, client, reader and streams."""

from __future__ import annotations

from marketing_ops.sources.base import ConnectionForm, Source
from marketing_ops.sources.mailchimp import check, client, compare, pages, writers
from marketing_ops.sources.mailchimp.streams import STREAMS

MAILCHIMP = Source(
    system="mailchimp",
    form=ConnectionForm(
        conn_type="marketing_ops_mailchimp",
        hook_name="Marketing Ops: Mailchimp",
        hook_class="marketing_ops.sources.mailchimp.hook.MailchimpHook",
        hidden=("schema", "port", "login", "extra"),
        relabeling={
            "host": "Host (empty with an API key)",
            "password": "API key or access token",
        },
        placeholders={"host": "us1.api.mailchimp.com", "password": "...-us1"},
    ),
    client=client.build,
    read=pages.read,
    streams=STREAMS,
    count=compare.count,
    slices=compare.slices,
    keys=compare.keys,
    fetch=compare.fetch,
    quota=compare.quota,
    check=check.check,
    writers={
        "members": writers.write_members,
        "tags": writers.write_tags,
        "segment_members": writers.write_segment_members,
    },
)
