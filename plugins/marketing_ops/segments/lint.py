"""Everything wrong in include/segments, found offline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marketing_ops import settings as configuration
from marketing_ops import yamlfile
from marketing_ops.errors import FatalError
from marketing_ops.segments.definition import (
    SegmentFile,
    children,
    load_all,
    references,
    segments_folder,
)
from marketing_ops.segments.grammar import ConsentRule
from marketing_ops.yamlfile import Problem, did_you_mean


def problems() -> list[Problem]:
    """Problems by file: schema, unknown names, cycles, impossible windows, tests that test nothing.

    The tests themselves need a warehouse: see `filetests.run`.
    """
    files, found = load_all()
    brands = _brands()
    for name, file in files.items():
        path = segments_folder() / f"{name}.yaml"
        data = yamlfile.read(path)
        for location, message in _complaints(file, brands, set(files)):
            key = ".".join(str(part) for part in location)
            found.append(Problem(path, yamlfile.line_of(data, location), key, message))
    return sorted(found, key=lambda problem: (str(problem.path), problem.line))


def _brands() -> set[str] | None:
    """The brands of settings.yaml; None when that file is wrong, which is reported elsewhere."""
    try:
        return set(configuration.settings().brands)
    except FatalError:
        return None


def _complaints(
    file: SegmentFile, brands: set[str] | None, segments: set[str]
) -> Iterator[tuple[tuple[Any, ...], str]]:
    for location, rule in _walk(file.where, ("where",)):
        if isinstance(rule, ConsentRule) and brands is not None:
            brand = rule.consent.brand
            if brand not in brands:
                near = did_you_mean(brand, brands)
                yield (
                    (*location, "consent", "brand"),
                    f"`{brand}` is no brand of settings.yaml.{near}",
                )
    if file.sync_to:
        yield ("sync_to",), "pushing audiences to vendors is not available yet: leave it out"
    nested = set(references(file.where))
    for number, test in enumerate(file.tests):
        for name in test.contact.segments or []:
            if name not in nested:
                near = did_you_mean(name, nested or segments)
                message = f"`{name}` is not referred to by this segment.{near}"
                yield ("tests", number, "contact", "segments"), message


def _walk(rule: Any, location: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every rule of a tree with its place in the file."""
    yield location, rule
    inside = children(rule)
    if inside:
        key = next(iter(type(rule).model_fields.values())).alias
        for number, child in enumerate(inside):
            place = (key,) if key == "not" else (key, number)
            yield from _walk(child, (*location, *place))
