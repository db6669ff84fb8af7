from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from marketing_ops.kpis import catalogue, definition, lint
from marketing_ops.paths import INCLUDE_VARIABLE, include_root

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of include/ to break."""
    shutil.copytree(include_root(), tmp_path / "include")
    monkeypatch.setenv(INCLUDE_VARIABLE, str(tmp_path / "include"))
    return tmp_path / "include"


def edit(own: Path, old: str, new: str, name: str = "orders") -> None:
    """Replace a text in a KPI file."""
    path = own / "kpis" / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_shipped_kpis_have_no_problem() -> None:
    """Every shipped file can be used, and the ones the product needs are there."""
    kpis, _ = definition.load_all()
    assert lint.problems() == []
    assert {"orders", "revenue", "repeat_rate", "open_rate", "unsubscribe_rate"} <= set(kpis)


def test_document_is_up_to_date() -> None:
    """docs/kpis.md says what the files say; it is written, never edited."""
    assert (ROOT / "docs" / "kpis.md").read_text(encoding="utf-8") == catalogue.document()


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("direction: up", "directoin: up", None, "Did you mean `direction`?"),
        ("source: kpi_orders", "source: kpi_order", None, "Did you mean `kpi_orders`?"),
        ("source: kpi_orders", "source: kpi_carts", None, "does not return 'orders'"),
        ("kpi: orders", "kpi: order", 1, "make them equal"),
        ("unit: count", "unit: apples", 5, "'ratio', 'money', 'count' or 'seconds'"),
        ("[day, week, month]", "[day, day]", 7, "names one value twice"),
    ],
)
def test_problem_names_file_line_and_remedy(
    own: Path, old: str, new: str, line: int | None, said: str
) -> None:
    """A wrong file is one or two sentences with file and line; the other KPIs stay usable."""
    edit(own, old, new)
    found = [str(problem) for problem in lint.problems()]
    assert any(said in text for text in found), found
    assert all(text.startswith("kpis/orders.yaml:") for text in found)
    assert line is None or any(text.startswith(f"kpis/orders.yaml:{line}:") for text in found)
    assert "revenue" in definition.load_all()[0]


def test_an_edited_file_is_read_again(own: Path) -> None:
    """The catalogue is kept in memory only as long as no file changed."""
    assert definition.load_all()[0]["orders"].direction == "up"
    edit(own, "direction: up", "direction: neutral")
    assert definition.load_all()[0]["orders"].direction == "neutral"


def test_hash_changes_with_what_decides_the_numbers(own: Path) -> None:
    """Stored dimensions, zone and currency change a group's hash; a description does not."""

    def hashes(zone: str = "UTC") -> dict[str, str]:
        return definition.definition_hashes(definition.load_all()[0].values(), zone, "USD")

    before = hashes()
    edit(own, "Orders placed in the period", "All orders placed in the period")
    assert hashes() == before
    edit(own, "[total, campaign, channel, region]", "[total]")
    after = hashes()
    assert after["orders"] != before["orders"] and after["email"] == before["email"]
    assert hashes("Europe/Belgrade")["email"] != before["email"]
