"""docker-compose.yaml and the Dockerfile: valid, pinned, without a secret in them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.yaml"
SECRETS = (
    "AIRFLOW_FERNET_KEY",
    "AIRFLOW_SECRET_KEY",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_ADMIN_PASSWORD",
    "POSTGRES_PASSWORD",
    "RECEIVER_KEY",
)
LONG_RUNNING = {
    "postgres",
    "redis",
    "airflow-api-server",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
    "airflow-worker",
    "receiver",
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file with its anchors merged, as plain data."""
    loaded = YAML(typ="safe").load(COMPOSE.read_text(encoding="utf-8"))
    return dict(json.loads(json.dumps(loaded)))


def test_compose_file_fits_the_specification(compose: dict[str, Any]) -> None:
    """The file is valid by the Compose Specification's own JSON schema."""
    text = (ROOT / "tests" / "data" / "compose-spec.json").read_text(encoding="utf-8")
    jsonschema.Draft7Validator(json.loads(text)).validate(compose)


def test_schema_refuses_a_wrong_file(compose: dict[str, Any]) -> None:
    """The schema is not empty: a misspelt key of a service is refused."""
    text = (ROOT / "tests" / "data" / "compose-spec.json").read_text(encoding="utf-8")
    wrong = json.loads(json.dumps(compose))
    wrong["services"]["redis"]["imagge"] = "redis"
    with pytest.raises(jsonschema.ValidationError, match="imagge"):
        jsonschema.Draft7Validator(json.loads(text)).validate(wrong)


def test_compose_command_accepts_the_file(tmp_path: Path) -> None:
    """Where a compose command is installed, `config` accepts the file with a full .env, and names
    the secret that is missing without one. Elsewhere only the wish for the secrets is checked.
    """
    text = COMPOSE.read_text(encoding="utf-8")
    for name in SECRETS:
        assert f"${{{name}:?" in text, f"{name} has a default or is not asked for"
    command = shutil.which("docker-compose")
    if command is None:
        return
    shutil.copy(COMPOSE, tmp_path)
    env_file = tmp_path / ".env"
    env_file.write_text("".join(f"{name}=x\n" for name in SECRETS), encoding="ascii")

    def config() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, "config"],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    accepted = config()
    assert accepted.returncode == 0, accepted.stderr
    env_file.write_text("".join(f"{name}=x\n" for name in SECRETS[:-1]), encoding="ascii")
    assert config().returncode != 0


def test_services_are_those_of_a_celery_airflow(compose: dict[str, Any]) -> None:
    """Every long-running service is there, with a health check and a restart policy."""
    services = compose["services"]
    one_shot = {"create-warehouse", "airflow-init"}
    assert set(services) == LONG_RUNNING | one_shot
    for name in LONG_RUNNING:
        assert services[name]["healthcheck"]["test"], name
        assert services[name]["restart"] == "unless-stopped", name
    for name in one_shot:
        assert services[name]["restart"] == "no", name


def test_airflow_services_share_image_secrets_and_executor(compose: dict[str, Any]) -> None:
    """All Airflow processes have one image, one JWT secret, and the API server's address."""
    airflow = [name for name in compose["services"] if name.startswith("airflow-")]
    wanted = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://airflow-api-server:8080/execution/",
    }
    for name in airflow:
        service = compose["services"][name]
        assert service["image"] == compose["services"]["receiver"]["image"]
        assert wanted.items() <= service["environment"].items()
        for key in ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CORE__FERNET_KEY"):
            assert service["environment"][key].startswith("${"), (name, key)


def test_warehouse_is_a_database_of_its_own(compose: dict[str, Any]) -> None:
    """Airflow's metadata and the warehouse do not share a database."""
    environment = compose["services"]["airflow-worker"]["environment"]
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].endswith("/airflow")
    connection = re.sub(r"\$\{[^}]+\}", "x", environment["AIRFLOW_CONN_MARKETING_OPS_WAREHOUSE"])
    assert json.loads(connection)["schema"] == "marketing"
    assert "createdb marketing" in compose["services"]["create-warehouse"]["command"][-1]


def test_nothing_is_unpinned_or_open_to_the_world(compose: dict[str, Any]) -> None:
    """Every pulled image has a version, and ports are published on the loopback only."""
    for name, service in compose["services"].items():
        if "build" not in service:
            assert re.search(r":\d+\.\d+", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    assert "latest" not in COMPOSE.read_text(encoding="utf-8")


def test_image_is_the_tested_airflow_and_copies_what_exists() -> None:
    """The base image is the locked Airflow, and each copied file exists and is not ignored."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = re.search(r"^apache-airflow==([\d.]+)", lock, flags=re.MULTILINE)
    assert locked is not None
    assert f"FROM apache/airflow:{locked.group(1)}-python3.12\n" in dockerfile
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY --chown=airflow:root (.+)$", dockerfile, flags=re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source.rstrip('/')}\n" in ignored, source
