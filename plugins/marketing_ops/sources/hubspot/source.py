"""What the product knows of HubSpot: its connection form, client, readers, writers and streams."""

from __future__ import annotations

from marketing_ops.sources.base import ConnectionForm, FormField, Source
from marketing_ops.sources.hubspot.streams import STREAMS

HUBSPOT = Source(
    system="hubspot",
    form=ConnectionForm(
        conn_type="marketing_ops_hubspot",
        hook_name="Marketing Ops: HubSpot",
        hook_class="marketing_ops.sources.hubspot.hook.HubSpotHook",
        hidden=("schema", "port", "extra"),
        relabeling={
            "host": "API (empty: api.hubapi.com)",
            "login": "Client id (empty with an access token)",
            "password": "Access token or client secret",
        },
        placeholders={"host": "https://api.hubapi.com", "password": "pat-..."},
        fields={
            "refresh_token": FormField(
                "Refresh token",
                "of the app's installation; only beside a client id",
                is_secret=True,
            )
        },
    ),
    streams=STREAMS,
)
