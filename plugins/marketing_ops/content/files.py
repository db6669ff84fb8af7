"""Templates on disk: include/content/<name>/{subject.txt,body.html,body.txt,meta.yaml}."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateSyntaxError, meta, nodes
from pydantic import BaseModel, ConfigDict, Field

from marketing_ops import yamlfile
from marketing_ops.content import rendering
from marketing_ops.content.inlining import inline_styles
from marketing_ops.paths import include_root
from marketing_ops.yamlfile import FileProblemsError, Problem, did_you_mean

PARTS = {"subject": "subject.txt", "html": "body.html", "text": "body.txt"}

CONTACT = frozenset(
    {
        "first_name",
        "last_name",
        "email",
        "city",
        "region",
        "country",
        "postal_code",
        "language",
        "attributes",
    }
)
BRAND = frozenset({"name", "postal_address"})
CAMPAIGN = frozenset({"name", "step"})
COUPON = frozenset({"code", "percent", "expires_at"})

VARIABLES = frozenset({"contact", "brand", "campaign", "entry", "unsubscribe_url", "coupon"})


class Meta(BaseModel):
    """meta.yaml: what the template is for and which properties of the entry it needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    transactional: bool = False
    entry: dict[str, Any] = Field(default_factory=dict)


def load_template(name: str) -> dict[str, Any]:
    """The template as a campaign version freezes it, styles inlined.

    Returns:
        `name`, `subject`, `html`, `text` (strings) and `meta` (`description`, `transactional`,
        `entry`: a sample value for each property of the entry that the template reads).

    Raises:
        FileProblemsError: a file is missing or meta.yaml is wrong.
    """
    template = _read(name)
    template["html"] = inline_styles(template["html"])
    return template


def content_hash(template: Mapping[str, Any]) -> str:
    """A hash of what a reader gets to see; equal texts have equal hashes."""
    parts = json.dumps([template.get(part) for part in PARTS], ensure_ascii=False)
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def check(template: Mapping[str, Any] | str) -> list[Problem]:
    """Every problem of a template, with file and line.

    Args:
        template: its name (lines are those of the files on disk), or a loaded template.
    """
    try:
        loaded = _read(template) if isinstance(template, str) else template
    except FileProblemsError as error:
        return error.problems
    problems: list[Problem] = []
    for part in PARTS:
        problems.extend(_check_part(loaded, part))
    if not loaded["meta"]["transactional"] and not problems:
        problems.extend(_missing_duties(loaded))
    return sorted(problems, key=lambda problem: (problem.path.name, problem.line, problem.message))


def _folder(name: str) -> Path:
    return include_root() / "content" / name


def _read(name: str) -> dict[str, Any]:
    folder = _folder(name)
    if not folder.is_dir():
        known = {path.name for path in folder.parent.glob("*") if path.is_dir()}
        hint = did_you_mean(name, known)
        raise FileProblemsError([Problem(folder, 1, "", f"there is no such template.{hint}")])
    template: dict[str, Any] = {"name": name}
    problems: list[Problem] = []
    for part, file in PARTS.items():
        try:
            template[part] = (folder / file).read_text(encoding="utf-8")
        except FileNotFoundError:
            problems.append(Problem(folder / file, 1, "", "is missing: every template needs it"))
        except UnicodeDecodeError:
            problems.append(Problem(folder / file, 1, "", "is not UTF-8 text"))
    try:
        if not (folder / "meta.yaml").is_file():
            raise FileProblemsError([Problem(folder / "meta.yaml", 1, "", "is missing")])
        template["meta"] = yamlfile.load(folder / "meta.yaml", Meta).model_dump()
    except FileProblemsError as error:
        problems.extend(error.problems)
    if problems:
        raise FileProblemsError(problems)
    return template


def _check_part(template: Mapping[str, Any], part: str) -> Iterator[Problem]:
    path = _folder(str(template.get("name", "?"))) / PARTS[part]
    source = template.get(part)
    if not isinstance(source, str):
        yield Problem(path, 1, "", "is missing: every template needs it")
        return
    try:
        tree = rendering.parse(source)
    except TemplateSyntaxError as error:
        yield Problem(path, error.lineno, "", f"is not a template: {error.message}")
        return
    for line, why in rendering.refusals(tree):
        yield Problem(path, line, "", why)
    unknown = [node for node in tree.find_all(nodes.Filter) if node.name not in rendering.FILTERS]
    for node in unknown:
        hint = did_you_mean(node.name, set(rendering.FILTERS))
        yield Problem(path, node.lineno, node.name, f"is not a filter you may use.{hint}")
    if unknown:
        return  # Jinja looks for names only where it knows every filter
    yield from _unknown_names(tree, path, template["meta"]["entry"])


def _unknown_names(tree: nodes.Template, path: Path, entry: Mapping[str, Any]) -> Iterator[Problem]:
    undeclared = meta.find_undeclared_variables(tree)
    seen: set[str] = set()
    for node in tree.find_all(nodes.Name):
        if node.name in undeclared - VARIABLES and node.name not in seen:
            seen.add(node.name)
            hint = did_you_mean(node.name, set(VARIABLES))
            yield Problem(path, node.lineno, node.name, f"is not a variable.{hint}")
    fields = {"contact": CONTACT, "brand": BRAND, "campaign": CAMPAIGN, "coupon": COUPON}
    for owner, field, line in _lookups(tree):
        known = set(entry) if owner == "entry" else set(fields.get(owner, ()))
        if owner in {*fields, "entry"} and field not in known:
            where = " (meta.yaml lists what it needs under `entry`)" if owner == "entry" else ""
            hint = did_you_mean(field, known)
            yield Problem(path, line, f"{owner}.{field}", f"is not a variable{where}.{hint}")


def _lookups(tree: nodes.Template) -> Iterator[tuple[str, str, int]]:
    """(variable, field, line) of each `variable.field` and `variable["field"]`."""
    for attribute in tree.find_all(nodes.Getattr):
        if isinstance(attribute.node, nodes.Name):
            yield attribute.node.name, attribute.attr, attribute.lineno
    for item in tree.find_all(nodes.Getitem):
        if isinstance(item.node, nodes.Name) and isinstance(item.arg, nodes.Const):
            yield item.node.name, str(item.arg.value), item.lineno


def _missing_duties(template: Mapping[str, Any]) -> Iterator[Problem]:
    """What the law asks of every marketing mail: a way out and the sender's postal address."""
    folder = _folder(str(template.get("name", "?")))
    for part in ("html", "text"):
        tree = rendering.parse(template[part])
        path = folder / PARTS[part]
        if "unsubscribe_url" not in meta.find_undeclared_variables(tree):
            why = "lacks {{ unsubscribe_url }} (or set `transactional: true` in meta.yaml)"
            yield Problem(path, 1, "unsubscribe_url", why)
        if not any(found[:2] == ("brand", "postal_address") for found in _lookups(tree)):
            yield Problem(path, 1, "brand.postal_address", "lacks {{ brand.postal_address }}")
