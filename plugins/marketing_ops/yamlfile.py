"""The users' YAML files: read as YAML 1.2, checked by a pydantic model, complained about kindly."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from marketing_ops.errors import DefinitionError

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one file; `line` is 1-based, `key` the dotted path, both as found."""

    path: Path
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        at = f" `{self.key}`" if self.key else ""
        return f"{self.path.parent.name}/{self.path.name}:{self.line}:{at} {self.message}"


class FileProblemsError(DefinitionError):
    """A file that cannot be used; `problems` says why, one by one."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def read(path: Path) -> Any:
    """The file's content as dicts, lists, strings, numbers and booleans with line marks kept.

    YAML 1.2: `on`, `off`, `yes` and `NO` are strings.

    Raises:
        FileProblemsError: it is not YAML, or empty; names the line.
    """
    try:
        data = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        message = f"is not YAML: {error.problem or error.context}"
        raise FileProblemsError([Problem(path, line, "", message)]) from error
    except UnicodeDecodeError as error:
        raise FileProblemsError([Problem(path, 1, "", "is not UTF-8 text")]) from error
    if not isinstance(data, dict):
        raise FileProblemsError([Problem(path, 1, "", "is empty or not a mapping of keys")])
    return data


def load(path: Path, model: type[ModelT]) -> ModelT:
    """The file as a `model`, whose unknown keys must be forbidden. Treat it as immutable.

    A file that did not change since this process last read it is not read again: engines ask for
    the users' files at every call.

    Raises:
        FileProblemsError: every problem with file, line, key and the nearest right spelling.
    """
    stat = path.stat()
    key, version = (path, model), (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    known = _loaded.get(key)
    if known is None or known[0] != version:
        known = _loaded[key] = (version, _validated(path, model))
    found = known[1]
    assert isinstance(found, model)
    return found


_loaded: dict[tuple[Path, type[BaseModel]], tuple[tuple[int, int, int], BaseModel]] = {}


def _validated(path: Path, model: type[ModelT]) -> ModelT:
    data = read(path)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [_problem(path, data, model, dict(item)) for item in error.errors()]
        raise FileProblemsError(problems) from error


def load_folder(folder: Path, model: type[ModelT]) -> tuple[dict[str, ModelT], list[Problem]]:
    """Every *.yaml of a folder by file name, and the problems of those that are wrong.

    A wrong file stops itself only: the others are returned.
    """
    found: dict[str, ModelT] = {}
    problems: list[Problem] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            found[path.stem] = load(path, model)
        except FileProblemsError as error:
            problems.extend(error.problems)
    return found, problems


def did_you_mean(word: str, known: Iterator[str] | list[str] | set[str]) -> str:
    """` Did you mean `x`?` for the nearest known spelling, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean `{near[0]}`?" if near else ""


def line_of(data: Any, location: tuple[Any, ...]) -> int:
    """The 1-based line of the key or item at `location` inside a document read by `read`."""
    line = 1
    node = data
    for part in location:
        marks = getattr(node, "lc", None)
        try:
            if isinstance(node, dict) and part in node:
                line = int(marks.key(part)[0]) + 1 if marks else line
            elif isinstance(node, list) and isinstance(part, int) and part < len(node):
                line = int(marks.item(part)[0]) + 1 if marks else line
            else:
                continue  # pydantic names union branches too; the document has no such level
            node = node[part]
        except (KeyError, AttributeError, TypeError):
            break
    return line


def _problem(path: Path, data: Any, model: type[BaseModel], item: dict[str, Any]) -> Problem:
    location = tuple(item["loc"])
    key = ".".join(str(part) for part in _document_path(data, location))
    if item["type"] == "extra_forbidden":
        unknown = str(location[-1])
        hint = did_you_mean(unknown, set(_field_names(model)))
        return Problem(path, line_of(data, location), key, f"is not a known key.{hint}")
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "missing":
        return Problem(path, line_of(data, location[:-1]), key, "is missing")
    return Problem(path, line_of(data, location), key, message)


def _document_path(data: Any, location: tuple[Any, ...]) -> list[Any]:
    path: list[Any] = []
    node = data
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        try:
            node = node[part]
            path.append(part)
        except (KeyError, IndexError, TypeError):
            if is_last:
                path.append(part)
    return path


def _field_names(annotation: Any, seen: set[Any] | None = None) -> Iterator[str]:
    seen = set() if seen is None else seen
    if get_origin(annotation) in (Union, UnionType) or get_args(annotation):
        for argument in get_args(annotation):
            yield from _field_names(argument, seen)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in seen:
            return
        seen.add(annotation)
        for name, field in annotation.model_fields.items():
            yield field.alias or name
            yield from _field_names(field.annotation, seen)
