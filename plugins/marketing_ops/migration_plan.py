"""What `migrate` would do: it is run, the catalogues are compared, and all of it is rolled back.

So the plan cannot differ from the migration, and nothing has to be described twice (decision 0008).
"""

from __future__ import annotations

import re
import textwrap
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import psycopg

from marketing_ops import sqlfile, warehouse
from marketing_ops.errors import FatalError
from marketing_ops.warehouse import Warehouse

SCHEMAS = ("mkt_raw", "mkt_staging", "mkt_core", "mkt_engage", "mkt_marts", "mkt_ops")
_LOCK_WAIT = "5s"
_WIDTH = 100
# In the order in which they are shown; the parts come along with a new table.
_PARTS = ("column", "index", "constraint", "trigger")
_KINDS = ("schema", "table", "view", *_PARTS, "function", "type", "sequence")


@dataclass(frozen=True, order=True)
class Thing:
    """One object of a database; `belongs_to` is its table, "" for what stands by itself."""

    kind: str
    schema: str
    belongs_to: str
    name: str

    def __str__(self) -> str:
        if self.kind == "schema":
            return self.name
        if self.kind in ("index", "constraint", "trigger"):
            return f"{self.name} on {self.schema}.{self.belongs_to}"
        return ".".join(filter(None, (self.schema, self.belongs_to, self.name)))


Catalogue = dict[Thing, str]


@dataclass(frozen=True)
class MigrationPlan:
    """What `migrate` would do to this database.

    Attributes:
        migrations: name and first comment line of each that would be applied.
        created, changed, removed: objects; what is made with a new table is not listed.
        dependents: (view of ours, view of somebody else that reads it).
        untouched: every other schema -> how many tables and views it has.
        missing: grants the role lacks, each with the statement that gives it.
        refusal: why `migrate` would stop, "" when it would not.
        seconds: how long it took, which is about what the migration takes.
    """

    database: str
    role: str
    migrations: list[tuple[str, str]]
    created: list[Thing] = field(default_factory=list)
    changed: list[Thing] = field(default_factory=list)
    removed: list[Thing] = field(default_factory=list)
    dependents: list[tuple[str, str]] = field(default_factory=list)
    untouched: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    refusal: str = ""
    seconds: float = 0.0

    @property
    def is_possible(self) -> bool:
        """Whether `migrate` would go through."""
        return not self.refusal and not self.missing

    @property
    def is_empty(self) -> bool:
        """Whether `migrate` would change nothing."""
        return not (self.migrations or self.created or self.changed or self.removed)


def plan(connection: Warehouse) -> MigrationPlan:
    """What `migrate` would do, with nothing done.

    Takes the locks that the migration takes and waits at most five seconds for each, so that a
    busy warehouse is not held up.

    Raises:
        RetryableError: a lock was not to be had in that time (by `translated_errors`).
        FatalError: the users' files are incomplete.
    """
    before = catalogue(connection)
    missing = missing_grants(connection)
    applied = warehouse.applied_versions(connection)
    pending = [found for found in warehouse.known_migrations() if found.version not in applied]
    started, refusal, after = time.monotonic(), "", before
    if not missing:
        after, refusal = _rehearsed(connection, before)
    others = {thing.schema for thing in before} - set(SCHEMAS)
    made = set(after) - set(before)
    row = connection.execute("select current_database(), current_user").fetchone()
    assert row is not None
    return MigrationPlan(
        database=str(row[0]),
        role=str(row[1]),
        migrations=[(found.name, _purpose(found.name)) for found in pending],
        created=sorted(thing for thing in made if not _comes_along(thing, made)),
        changed=sorted(thing for thing in after if before.get(thing, after[thing]) != after[thing]),
        removed=sorted(set(before) - set(after)),
        dependents=_dependents(connection),
        untouched={schema: _relations(before, schema) for schema in sorted(others)},
        missing=missing,
        refusal=refusal,
        seconds=time.monotonic() - started,
    )


def catalogue(connection: Warehouse) -> Catalogue:
    """Every object of the database with its definition, Postgres's own left out."""
    rows = sqlfile.execute(connection, "ops/catalogue").fetchall()
    return {Thing(*map(str, row[:4])): str(row[4]) for row in rows}


def missing_grants(connection: Warehouse) -> list[str]:
    """The grants that `migrate` needs and the role lacks, each with the statement that gives it."""
    rows = sqlfile.execute(connection, "ops/missing_grants").fetchall()
    return [str(says) for (says,) in rows]


def _rehearsed(connection: Warehouse, before: Catalogue) -> tuple[Catalogue, str]:
    """The catalogue as it would be, and why it cannot be so."""
    with connection.transaction(force_rollback=True):
        connection.execute(f"set local lock_timeout = '{_LOCK_WAIT}'".encode())
        try:
            warehouse.migrate(connection)
        except FatalError as error:
            return before, str(error)
        except psycopg.errors.InsufficientPrivilege as error:
            return before, f"the role may not do it: {error.diag.message_primary}"
        return catalogue(connection), ""


def _comes_along(thing: Thing, made: set[Thing]) -> bool:
    if thing.kind == "sequence":
        return True  # of an identity column
    owner = Thing("table", thing.schema, "", thing.belongs_to)
    return thing.kind in _PARTS and owner in made


def _relations(before: Catalogue, schema: str) -> int:
    return sum(thing.schema == schema and thing.kind in ("table", "view") for thing in before)


def _dependents(connection: Warehouse) -> list[tuple[str, str]]:
    rows = sqlfile.execute(connection, "ops/dependents").fetchall()
    return [(str(ours), str(theirs)) for ours, theirs in rows]


def _purpose(migration: str) -> str:
    found = re.search(r"^-- (.+)$", sqlfile.load(f"migrations/{migration}"), flags=re.MULTILINE)
    return found.group(1) if found else ""


def render(found: MigrationPlan) -> str:
    """The plan as a person reads it, at most 100 columns wide where names allow it."""
    lines = [f"database {found.database}, role {found.role}", ""]
    lines += _section("missing grants", found.missing)
    if found.refusal:
        lines += _section("migrate would stop", [found.refusal])
    lines += _section("would apply", (f"{name}  {text}" for name, text in found.migrations))
    lines += _objects("would create", found.created)
    lines += _objects("would change", found.changed)
    lines += _objects("would remove", found.removed)
    if found.is_empty and found.is_possible:
        lines += ["nothing to do: the warehouse is as this code wants it", ""]
    theirs = (f"{theirs} reads {ours}" for ours, theirs in found.dependents)
    lines += _section("views of yours on views of ours", theirs)
    others = (f"{name}: {count} tables and views" for name, count in found.untouched.items())
    lines += _section("never touches", others)
    lines.append(_ending(found))
    return "\n".join(lines)


def _ending(found: MigrationPlan) -> str:
    if found.missing:
        return "nothing was changed: what it would create can be said when the grants are there"
    return f"nothing was changed: run in {found.seconds:.1f} s and rolled back"


def _section(title: str, rows: Iterable[str]) -> list[str]:
    shown = [line for row in rows for line in _wrapped(row)]
    return [title, *shown, ""] if shown else []


def _objects(title: str, things: list[Thing]) -> list[str]:
    """One paragraph a kind and, for tables and views, a schema."""
    groups: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for thing in things:
        is_listed = thing.kind in ("table", "view")
        place = f" of {thing.schema}" if is_listed else ""
        groups[_KINDS.index(thing.kind), place].append(thing.name if is_listed else str(thing))
    rows = (
        f"{_counted(_KINDS[kind], len(names))}{place}: {', '.join(names)}"
        for (kind, place), names in sorted(groups.items())
    )
    return _section(title, rows)


def _counted(kind: str, number: int) -> str:
    plural = "indexes" if kind == "index" else f"{kind}s"
    return f"{number} {kind if number == 1 else plural}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )
