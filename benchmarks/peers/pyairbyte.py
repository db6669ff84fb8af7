"""PyAirbyte: a declarative source of the contacts, merged into its Postgres cache."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any
from urllib.parse import urlsplit

os.environ |= {"DO_NOT_TRACK": "1", "AIRBYTE_OFFLINE_MODE": "1"}

import airbyte as ab
from airbyte.caches import PostgresCache
from airbyte.strategies import WriteStrategy
from pages import cpu

URL, URI = sys.argv[1:3]
TEXTS = "email firstname lastname phone company jobtitle website address city country"
TEXTS += " lifecyclestage annualrevenue num_notes createdate lastmodifieddate"


def manifest() -> dict[str, Any]:
    """The declarative source: one stream, cursor pages, properties beside the id."""
    text = {"type": ["null", "string"]}
    properties = dict.fromkeys(("id", *TEXTS.split()), text)
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["contacts"]},
        "streams": [
            {
                "type": "DeclarativeStream",
                "name": "contacts",
                "primary_key": ["id"],
                "schema_loader": {
                    "type": "InlineSchemaLoader",
                    "schema": {
                        "type": "object",
                        "properties": {**properties, "archived": {"type": ["null", "boolean"]}},
                    },
                },
                "retriever": {
                    "type": "SimpleRetriever",
                    "record_selector": {
                        "type": "RecordSelector",
                        "extractor": {"type": "DpathExtractor", "field_path": ["results"]},
                    },
                    "requester": {
                        "type": "HttpRequester",
                        "url_base": URL,
                        "path": "/contacts",
                        "http_method": "GET",
                    },
                    "paginator": {
                        "type": "DefaultPaginator",
                        "page_token_option": {
                            "type": "RequestOption",
                            "inject_into": "request_parameter",
                            "field_name": "after",
                        },
                        "pagination_strategy": {
                            "type": "CursorPagination",
                            "cursor_value": "{{ response['paging']['next']['after'] }}",
                            "stop_condition": "{{ 'paging' not in response }}",
                        },
                    },
                },
                "transformations": [
                    {
                        "type": "DpathFlattenFields",
                        "field_path": ["properties"],
                        "delete_origin_value": True,
                    }
                ],
            }
        ],
        "spec": {
            "type": "Spec",
            "connection_specification": {"type": "object", "properties": {}},
        },
    }


parts = urlsplit(URI)
cache = PostgresCache(
    host=str(parts.hostname),
    port=parts.port or 5432,
    username=parts.username or "postgres",
    password=parts.password or "none",
    database=parts.path.lstrip("/"),
    schema_name="peer_pyairbyte",
)
source = ab.get_source("source-bench", source_manifest=manifest(), config={})
source.select_all_streams()
started, spent = time.perf_counter(), cpu()
source.read(cache=cache, write_strategy=WriteStrategy.MERGE, force_full_refresh=True)
seconds, spent = time.perf_counter() - started, cpu() - spent
print(json.dumps({"seconds": seconds, "cpu": spent, "table": "peer_pyairbyte.contacts"}))
