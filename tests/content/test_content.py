from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from marketing_ops import content, paths
from marketing_ops.content import ContentError
from marketing_ops.delivery.channels import message
from marketing_ops.yamlfile import FileProblemsError

NAMES = sorted(path.name for path in (paths.include_root() / "content").iterdir())

VARIABLES: dict[str, Any] = {
    "contact": dict.fromkeys(
        ("first_name", "last_name", "email", "city", "region", "country", "postal_code", "language")
    )
    | {"attributes": {}},
    "brand": {"name": "Journey & Co", "postal_address": "1 Market Street"},
    "campaign": {"name": "rescue", "step": "mail"},
    "entry": {},
    "unsubscribe_url": "https://r.example.com/u/t",
    "coupon": None,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template `welcome` that a test may break; returns its folder."""
    root = tmp_path / "include"
    shutil.copytree(paths.include_root() / "content" / "welcome", root / "content" / "welcome")
    monkeypatch.setenv(paths.INCLUDE_VARIABLE, str(root))
    return root / "content" / "welcome"


def _problems(name: str = "welcome") -> str:
    return "\n".join(str(problem) for problem in content.check(name))


@pytest.mark.parametrize("name", NAMES)
def test_our_templates_are_fine_and_render(name: str) -> None:
    """Every template checks clean and renders with its sample, for somebody we hardly know."""
    assert content.check(name) == []
    template = content.load_template(name)
    assert content.check(template) == []
    rendered = content.render(template, VARIABLES | {"entry": template["meta"]["entry"]})
    for text in (rendered.subject, rendered.html, rendered.text):
        assert text and "None" not in text and "{{" not in text and "{%" not in text
    assert "https://r.example.com/u/t" in rendered.html and "1 Market Street" in rendered.text
    assert "Journey &amp; Co" in rendered.html and "Journey & Co" in rendered.text
    assert len(rendered.html.encode()) < 60_000


@pytest.mark.parametrize("name", ["cart_plain", "cart_coupon"])
def test_cart_mails_survive_a_poor_or_a_huge_cart(name: str) -> None:
    """Nothing known of the cart: no empty table; many lines: six and a count."""
    template = content.load_template(name)
    poor = content.render(template, VARIABLES)
    assert "Total" not in poor.html and "https://journey.example.com/cart" in poor.html
    lines: list[dict[str, Any]] = [{"title": None, "quantity": 3}] * 20
    huge = content.render(template, VARIABLES | {"entry": {"lines": lines, "cart_value": 1}})
    assert "and 14 more" in huge.html and "and 14 more" in huge.text
    assert huge.text.count("3 x") == 6


@pytest.mark.parametrize("name", NAMES)
def test_styles_are_inlined_and_the_small_screen_rules_stay(name: str) -> None:
    """Mail programs need `style` attributes; phones need the media rule; Jinja is unharmed."""
    source = (paths.include_root() / "content" / name / "body.html").read_text()
    html = content.load_template(name)["html"]
    assert 'style="' in html and "@media" in html and 'role="presentation"' in html
    pieces = r"\{\{.*?\}\}|\{%.*?%\}"
    assert re.findall(pieces, html) == re.findall(pieces, source)


def test_frozen_content_hash_follows_what_readers_see() -> None:
    """Equal texts hash equal; a changed word, not a changed description, changes it."""
    template = content.load_template("welcome")
    same = template | {"meta": {"description": "other"}}
    assert content.content_hash(same) == content.content_hash(template)
    assert content.content_hash(template | {"text": "x"}) != content.content_hash(template)


def test_missing_template_and_file_are_named(folder: Path) -> None:
    """Which file is missing, or the nearest right name."""
    assert "there is no such template. Did you mean `welcome`?" in _problems("welcom")
    (folder / "body.txt").unlink()
    assert "body.txt" in _problems() and "is missing" in _problems()
    with pytest.raises(FileProblemsError, match=r"body\.txt"):
        content.load_template("welcome")


def test_syntax_error_has_its_line(folder: Path) -> None:
    """An open `if` is found with file and line."""
    (folder / "body.txt").write_text("a\nb\n{% if contact %}\n{{ unsubscribe_url }}")
    assert re.search(r"body\.txt:\d+: is not a template", _problems())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ contcat.first_name }}", "`contcat` is not a variable. Did you mean `contact`?"),
        ("{{ contact.first_nam }}", "Did you mean `first_name`?"),
        ("{{ entry.cart_value }}", "meta.yaml lists what it needs"),
        ("{{ contact.city | uper }}", "`uper` is not a filter you may use. Did you mean `upper`?"),
        ("{{ contact.city.upper() }}", "calls something"),
        ("{% include 'x' %}", "includes another file"),
        ("{% macro x() %}{% endmacro %}", "defines a macro"),
        ("{% set a = contact.city ~ contact.city %}", "builds a text in `set`"),
    ],
)
def test_what_a_template_may_not_do_is_found_offline(
    folder: Path, text: str, expected: str
) -> None:
    """Misspelt names, calls, imports and text bombs are lint problems with the right line."""
    (folder / "subject.txt").write_text(f"Hello\n{text}")
    found = _problems()
    assert expected in found and "subject.txt:2" in found


def test_marketing_mail_needs_a_way_out_and_an_address(folder: Path) -> None:
    """Both parts need the unsubscribe link and the postal address, unless it is transactional."""
    (folder / "body.txt").write_text("Hello")
    assert "body.txt:1: `unsubscribe_url` lacks" in _problems()
    assert "lacks {{ brand.postal_address }}" in _problems()
    (folder / "meta.yaml").write_text("description: x\ntransactional: true\n")
    assert content.check("welcome") == []


def test_wrong_meta_says_where(folder: Path) -> None:
    """Unknown keys of meta.yaml are errors with the nearest right spelling."""
    (folder / "meta.yaml").write_text("description: x\ntransactionl: true\n")
    assert "meta.yaml:2: `transactionl` is not a known key. Did you mean" in _problems()


@pytest.mark.parametrize(
    "text",
    [
        "{{ contact.__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ contact.clear() }}",
        "{% for a in [1] %}{% for b in [1] %}{% for c in [1] %}x" + "{% endfor %}" * 3,
        "{{ 'x' * 1000000000 }}",
        "{{ 9 ** 9999999 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ nobody }}",
        "{{ contact.nobody }}",
        "{{ 1 / 0 }}",
        "{{ contact.first_name | money }}",
    ],
)
def test_sandbox_refuses_with_one_sentence(text: str) -> None:
    """Escapes, bombs, undefined values and failing sums are ContentErrors without values."""
    template = {"name": "t", "subject": "s", "html": "", "text": text}
    values = VARIABLES | {"contact": {"first_name": "Private Person"}}
    with pytest.raises(ContentError, match="template `t`, text") as caught:
        content.render(template, values)
    assert "Private Person" not in str(caught.value)


def test_output_is_bounded() -> None:
    """A loop over much data stops at a size no mail should have."""
    template = {
        "name": "t",
        "subject": "s",
        "html": "",
        "text": "{% for a in entry.x %}{{ a }}{% endfor %}",
    }
    with pytest.raises(ContentError, match="grows beyond"):
        content.render(template, VARIABLES | {"entry": {"x": ["y" * 1000] * 1000}})


def test_html_is_escaped_text_is_not_and_subject_is_one_line() -> None:
    """A first name cannot carry markup into the mail, nor a line break into its head."""
    name = "<b>Ann & Bob</b>\r\nBcc: x@example.com"
    each = "{{ contact.first_name }}"
    rendered = content.render(
        {"name": "t", "subject": each, "html": each, "text": each},
        VARIABLES | {"contact": {"first_name": name}},
    )
    assert "&lt;b&gt;Ann &amp; Bob" in rendered.html
    assert "<b>Ann & Bob</b>" in rendered.text
    assert "\n" not in rendered.subject and "\r" not in rendered.subject


def test_links_are_tracked_except_the_way_out() -> None:
    """Web links go through the receiver with their real target; unsubscribe and mailto do not."""
    out = "https://r.example.com/u/t"
    html = (
        f'<body><a href="https://a.example.com/?x=1&amp;y=2">a</a><a href="{out}">out</a>'
        '<a href="mailto:x@example.com">m</a></body>'
    )
    seen: list[str] = []

    def click(url: str) -> str:
        seen.append(url)
        return "https://r.example.com/c/t?u=a&b"

    tracked = message.track(html, click, "https://r.example.com/o/t.gif", keep=out)
    assert seen == ["https://a.example.com/?x=1&y=2"]
    assert 'href="https://r.example.com/c/t?u=a&amp;b"' in tracked
    assert f'href="{out}"' in tracked and 'href="mailto:' in tracked
    assert re.search(r'<img src="https://r\.example\.com/o/t\.gif"[^>]+></body>$', tracked)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("Ann.B+x@Example.com", "Ann.B+x@example.com"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("ann", None),
        ("ann@example.com\r\nRCPT TO:<b@example.com>", None),
        ("ann b@example.com", None),
        ("<ann@example.com>", None),
        ("änn@example.com", None),
        ("ann@.example.com", None),
        ("", None),
    ],
)
def test_only_addresses_that_fit_the_wire(address: str, expected: str | None) -> None:
    """What SMTP cannot carry, or could misread, is not an address; domains become ASCII."""
    found = message.wire_address(address)
    assert (found.lower() if found else found) == (expected.lower() if expected else expected)
