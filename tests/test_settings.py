from __future__ import annotations

from pathlib import Path

import pytest

from marketing_ops import settings as configuration
from marketing_ops import yamlfile
from marketing_ops.errors import FatalError
from marketing_ops.settings import Settings, Source
from marketing_ops.yamlfile import FileProblemsError

SOURCE = """\
source: shop
system: shopify
connection: shop
brand: rs
"""


def write(folder: Path, text: str, name: str = "shop.yaml") -> Path:
    """The file with `text` in it."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_unknown_key_names_file_line_and_nearest_spelling(tmp_path: Path) -> None:
    """A typo costs a marketer seconds, not a search."""
    path = write(tmp_path, SOURCE + "pool_slot: 4\n")
    with pytest.raises(FileProblemsError) as caught:
        yamlfile.load(path, Source)
    text = str(caught.value)
    assert "shop.yaml:5:" in text
    assert "`pool_slot` is not a known key. Did you mean `pool_slots`?" in text


def test_missing_key_and_wrong_value_are_both_listed(tmp_path: Path) -> None:
    """All problems of a file at once, each with its line."""
    path = write(tmp_path, "source: shop\nsystem: shopify\nbrand: rs\nquota_share: lots\n")
    with pytest.raises(FileProblemsError) as caught:
        yamlfile.load(path, Source)
    assert {problem.key: problem.line for problem in caught.value.problems} == {
        "connection": 1,
        "quota_share": 4,
    }
    assert "write 5% or 12.5%" in str(caught.value)


def test_words_of_yaml_1_1_stay_words(tmp_path: Path) -> None:
    """`sending: off` is the word off, a country NO is Norway."""
    path = write(tmp_path, SOURCE + "sending: off\nmap: {country: NO}\n")
    source = yamlfile.load(path, Source)
    assert source.sending == "off"
    assert source.map == {"country": "NO"}


@pytest.mark.parametrize("text", ["a: [1, 2\n", "", "- a\n- b\n"])
def test_what_is_no_mapping_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    """Broken YAML, an empty file and a list are problems with a line, not tracebacks."""
    with pytest.raises(FileProblemsError, match=r"shop\.yaml:\d+: is (not YAML|empty)"):
        yamlfile.load(write(tmp_path, text), Source)


def test_unknown_time_zone_is_refused(tmp_path: Path) -> None:
    """The reporting zone decides what a day is: it has to exist."""
    text = "reporting_timezone: Europe/Belgrad\nbrands: {}\n"
    with pytest.raises(FileProblemsError, match="is not an IANA time zone"):
        yamlfile.load(write(tmp_path, text, "settings.yaml"), Settings)


def test_wrong_file_stops_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One broken account leaves the others usable; asking for it says why it is not."""
    (tmp_path / "sources").mkdir()
    write(tmp_path / "sources", SOURCE)
    write(tmp_path / "sources", "source: other\nsystem: [\n", "broken.yaml")
    write(tmp_path / "sources", SOURCE, "renamed.yaml")
    monkeypatch.setenv("MARKETING_OPS_INCLUDE", str(tmp_path))
    found, problems = configuration.sources()
    assert set(found) == {"shop"}
    assert {problem.path.stem for problem in problems} == {"broken", "renamed"}
    with pytest.raises(FatalError, match="make them equal"):
        configuration.source("renamed")
    with pytest.raises(FatalError, match="Did you mean `shop`"):
        configuration.source("shp")


def test_shipped_files_load() -> None:
    """What the repository ships is its own first example."""
    assert configuration.settings().brands
    found, problems = configuration.sources()
    assert found
    assert problems == []


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """What is kept between calls is never older than the file."""
    path = write(tmp_path, SOURCE)
    assert yamlfile.load(path, Source) is yamlfile.load(path, Source)
    write(tmp_path, SOURCE.replace("brand: rs", "brand: de"))
    assert yamlfile.load(path, Source).brand == "de"


def test_environment_overrides_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """One settings.yaml serves a laptop and production: address and currency may differ."""
    configuration.settings.cache_clear()
    monkeypatch.setenv("MARKETING_OPS_RECEIVER_URL", "https://mail.example.com")
    monkeypatch.setenv("MARKETING_OPS_REPORTING_CURRENCY", "GBP")
    try:
        found = configuration.settings()
        assert found.receiver_url == "https://mail.example.com"
        assert found.reporting_currency == "GBP"
    finally:
        configuration.settings.cache_clear()
