"""What every declared system has to bring."""

from __future__ import annotations

import importlib
import sys

import pytest

from marketing_ops.errors import FatalError
from marketing_ops.sources import registry
from marketing_ops.sources.base import Source
from marketing_ops.sources.httpclient import redacted


@pytest.mark.parametrize("source", registry.SYSTEMS.values(), ids=lambda source: source.system)
def test_forms_match_their_hooks(source: Source) -> None:
    """The hook a form names exists and has the same connection type."""
    module, _, name = source.form.hook_class.rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert hook.conn_type == source.form.conn_type
    assert hook.hook_name == source.form.hook_name
    assert hook.conn_name_attr.endswith("_conn_id")
    info = source.form.as_provider_info()
    assert info["connection-type"] == hook.conn_type


@pytest.mark.parametrize("source", registry.SYSTEMS.values(), ids=lambda source: source.system)
def test_streams_are_complete(source: Source) -> None:
    """The first column is the key, a cursor is a column, children name parent and place."""
    for stream in source.streams:
        assert stream.columns[0].name == "id"
        assert stream.cursor in {"", *(column.name for column in stream.columns)}
        for child in stream.children:
            assert child.columns[0].name == "id"
            assert child.parent == stream.name
            assert child.parent_column in {column.name for column in child.columns}
            assert child.nested


def test_engine_and_clients_import_no_airflow() -> None:
    """Only the hook files know Airflow: the engine runs without it."""
    code = (
        "import sys; import marketing_ops.sync.runner, marketing_ops.sync.tables;"
        "print([name for name in sys.modules if name.split('.')[0] == 'airflow'])"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "plugins", "PATH": ""},
    )
    assert done.stdout.strip() == "[]"


def test_unknown_system_gets_a_hint() -> None:
    """The nearest name is offered."""
    with pytest.raises(FatalError, match="Did you mean `shopify`"):
        registry.system("shopfy")


def test_secrets_are_masked_for_logs() -> None:
    """Whatever may be a secret is not shown."""
    shown = redacted({"X-Shopify-Access-Token": "s", "client_secret": "s", "page": 3})
    assert shown == {"X-Shopify-Access-Token": "***", "client_secret": "***", "page": 3}
