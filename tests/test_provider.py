"""What Airflow is told of our connection types."""

from __future__ import annotations

from tests import airflow_env

airflow_env.prepare()

import subprocess  # noqa: E402
import sys  # noqa: E402
from importlib import import_module, resources  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import jsonschema  # type: ignore[import-untyped]  # noqa: E402
import pytest  # noqa: E402

from marketing_ops.provider import get_provider_info  # noqa: E402
from marketing_ops.settings import sources  # noqa: E402
from marketing_ops.sources.registry import SYSTEMS  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
TYPES = get_provider_info()["connection-types"]


def test_info_fits_airflows_schema() -> None:
    """Airflow refuses a provider whose info does not fit its schema, and hides every form."""
    import orjson

    text = (resources.files("airflow") / "provider_info.schema.json").read_bytes()
    jsonschema.validate(get_provider_info(), orjson.loads(text))


def test_every_system_has_its_form() -> None:
    """One connection type a vendor and one for the receiver; each used by an account is there."""
    known = [item["connection-type"] for item in TYPES]
    assert len(known) == len(set(known)) == len(SYSTEMS) + 1
    assert "marketing_ops_receiver" in known
    for source in sources()[0].values():
        assert SYSTEMS[source.system].form.conn_type in known


@pytest.mark.parametrize("item", TYPES, ids=lambda item: str(item["connection-type"]))
def test_hook_belongs_to_its_type(item: dict[str, Any]) -> None:
    """The hook that a form names exists and is of that connection type."""
    module, name = item["hook-class-name"].rsplit(".", 1)
    hook = getattr(import_module(module), name)
    assert hook.conn_type == item["connection-type"]
    assert hook.hook_name == item["hook-name"]
    assert hook.default_conn_name


def test_short_receiver_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection test of the form tells a guessable signing key from a usable one."""
    from marketing_ops.operators.hooks import ReceiverHook

    variable = "AIRFLOW_CONN_MARKETING_OPS_RECEIVER"
    monkeypatch.setenv(variable, '{"conn_type": "marketing_ops_receiver", "password": "short"}')
    assert ReceiverHook().test_connection()[0] is False
    key = "k" * 32
    monkeypatch.setenv(variable, f'{{"conn_type": "marketing_ops_receiver", "password": "{key}"}}')
    assert ReceiverHook().test_connection()[0] is True


def test_provider_does_not_import_airflow() -> None:
    """Airflow reads it before its own configuration is complete: importing it back would hang."""
    code = (
        "import sys; from marketing_ops.provider import get_provider_info as info; info();"
        " sys.exit('airflow' in sys.modules or 'psycopg' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "plugins", check=False)
    assert done.returncode == 0
