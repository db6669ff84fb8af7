"""The SQL of a merge, generated from a stream's declaration. Names are allow-listed identifiers.

The staged rows are either a session's temporary table (filled by COPY) or, for a few rows, one
JSON parameter; either way they have the stream's columns, `extra`, `row_hash` (bytea) and
`source_updated_at`. The parent's verdicts are passed to its children as arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from psycopg import sql

from marketing_ops.sources.base import Stream
from marketing_ops.sync.tables import qualified, table_name

Query = bytes
"""SQL as psycopg sends it, with its named parameters."""


@dataclass(frozen=True)
class Statements:
    """What is executed for one stream; the parameters are those of `store.Store`."""

    create_stage: Query
    copy_stage: Query
    copy_direct: Query
    resolve_parents: Query | None
    classify: Query
    insert_new: Query
    merge: Query
    classify_few: Query
    merge_few: Query
    tombstone_vanished: Query | None
    create_seen: Query
    empty_seen: Query
    remember_seen: Query
    remember_ids: Query
    sweep: Query
    late_parents: Query | None
    is_empty: Query


@cache
def statements_of(system: str, stream: Stream) -> Statements:
    """The statements of a stream, made once."""
    return _Maker(system, stream).make()


class _Maker:
    def __init__(self, system: str, stream: Stream) -> None:
        self.system, self.stream = system, stream
        self.types = [(column.name, str(column.type)) for column in stream.columns]
        self.types += [
            ("extra", "jsonb"),
            ("row_hash", "bytea"),
            ("source_updated_at", "timestamptz"),
        ]
        name = table_name(system, stream.name)
        self.table = qualified(system, stream.name)
        self.stage = sql.Identifier("pg_temp", f"stage_{name}")
        self.seen = sql.Identifier("pg_temp", f"seen_{name}")
        self.parent = qualified(system, stream.parent) if stream.parent else None
        self.columns = sql.SQL(", ").join(sql.Identifier(name) for name, _ in self.types)
        self.staged = sql.SQL(", ").join(sql.Identifier("s", name) for name, _ in self.types)

    def make(self) -> Statements:
        few = self._few()
        return Statements(
            create_stage=self._create_stage(),
            copy_stage=self._say("copy {stage} ({columns}) from stdin"),
            copy_direct=self._say(
                "copy {table} (account, {columns}, loaded_at, sync_run_id) from stdin"
            ),
            resolve_parents=self._of_child(
                "update {stage} s set source_updated_at = p.source_updated_at from {parent} p"
                " where s.source_updated_at is null and p.account = %(account)s"
                " and p.id = s.{parent_id}"
            ),
            classify=self._classify(self.stage),
            insert_new=self._insert(self.stage),
            merge=self._merge(self.stage),
            classify_few=self._classify(few),
            merge_few=self._merge(few),
            tombstone_vanished=self._of_child(
                "update {table} t set is_deleted = true, source_updated_at = p.source_updated_at,"
                " loaded_at = %(loaded_at)s, sync_run_id = %(sync_run_id)s"
                " from {parent} p"
                " where t.account = %(account)s and t.{parent_id} = any(%(parents)s)"
                " and not t.is_deleted and t.id <> all(%(kept)s)"
                " and p.account = t.account and p.id = t.{parent_id}"
            ),
            create_seen=self._say(
                "create temporary table if not exists {seen} (id text primary key)"
            ),
            empty_seen=self._say("truncate {seen}"),
            remember_seen=self._say(
                "insert into {seen} select id from {stage} on conflict do nothing"
            ),
            remember_ids=self._say(
                "insert into {seen} select unnest(%(ids)s::text[]) on conflict do nothing"
            ),
            sweep=self._sweep(),
            is_empty=self._say(
                "select not exists (select 1 from {table} where account = %(account)s)"
            ),
            late_parents=self._of_child(
                "update {table} t set source_updated_at = p.source_updated_at from {parent} p"
                " where t.account = %(account)s and t.source_updated_at is null"
                " and p.account = t.account and p.id = t.{parent_id}"
            ),
        )

    def _say(self, text: str, **parts: sql.Composable) -> Query:
        return self._composed(text, **parts).as_bytes()

    def _composed(self, text: str, **parts: sql.Composable) -> sql.Composed:
        named: dict[str, sql.Composable] = {
            "table": self.table,
            "stage": self.stage,
            "seen": self.seen,
            "columns": self.columns,
            "staged": self.staged,
            "parent_id": sql.Identifier(self.stream.parent_column or "id"),
            **parts,
        }
        if self.parent is not None:
            named["parent"] = self.parent
            named["seen_parent"] = sql.Identifier(
                "pg_temp", f"seen_{table_name(self.system, self.stream.parent)}"
            )
        return sql.SQL(text).format(**named)

    def _of_child(self, text: str) -> Query | None:
        return self._say(text) if self.parent is not None else None

    def _create_stage(self) -> Query:
        typed = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
            for name, kind in self.types
        )
        return self._say(
            "create temporary table if not exists {stage} ({typed}) on commit delete rows",
            typed=typed,
        )

    def _few(self) -> sql.Composed:
        """The rows of a JSON parameter: every field as COPY would have it, or null."""
        casts = sql.SQL(", ").join(
            sql.SQL("j.{}::{}").format(sql.Identifier(name), sql.SQL(kind))
            for name, kind in self.types
        )
        texts = sql.SQL(", ").join(
            sql.SQL("{} text").format(sql.Identifier(name)) for name, _ in self.types
        )
        return sql.SQL("(select {} from json_to_recordset(%(rows)s::json) as j ({}))").format(
            casts, texts
        )

    def _is_stale(self) -> sql.Composed:
        """The target is newer, or the row's parent lost against a newer one."""
        text = "coalesce(s.source_updated_at < t.source_updated_at, false)"
        if self.parent is not None:
            text += " or s.{parent_id} = any(%(stale_parents)s)"
        return self._composed(text)

    def _classify(self, stage: sql.Composable) -> Query:
        return self._say(
            "select count(*), count(*) filter (where verdict = 'new'),"
            " count(*) filter (where verdict = 'changed'),"
            " count(*) filter (where verdict = 'unchanged'),"
            " count(*) filter (where verdict = 'stale'),"
            " array_agg(id) filter (where verdict = 'changed'),"
            " array_agg(id) filter (where verdict = 'stale')"
            " from (select s.id, case when {is_stale} then 'stale' when t.id is null then 'new'"
            " when t.row_hash = s.row_hash and not t.is_deleted then 'unchanged'"
            " else 'changed' end as verdict"
            " from {source} s left join {table} t on t.account = %(account)s and t.id = s.id) v",
            source=stage,
            is_stale=self._is_stale(),
        )

    def _insert(self, stage: sql.Composable) -> Query:
        return self._say(
            "insert into {table} (account, {columns}, loaded_at, sync_run_id)"
            " select %(account)s, {staged}, %(loaded_at)s, %(sync_run_id)s from {source} s",
            source=stage,
        )

    def _merge(self, stage: sql.Composable) -> Query:
        """Writes what is new or changed; what is unchanged or stale is not even locked."""
        updates = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("s", name))
            for name, _ in self.types[1:-1]
        )
        return self._say(
            "merge into {table} t using {source} s on t.account = %(account)s and t.id = s.id"
            " when matched and not ({is_stale}) and (t.row_hash <> s.row_hash or t.is_deleted)"
            " then update set {updates},"
            " source_updated_at = coalesce(s.source_updated_at, t.source_updated_at),"
            " is_deleted = false, loaded_at = %(loaded_at)s, sync_run_id = %(sync_run_id)s"
            " when not matched {unless_stale}"
            " then insert (account, {columns}, loaded_at, sync_run_id)"
            " values (%(account)s, {staged}, %(loaded_at)s, %(sync_run_id)s)",
            source=stage,
            updates=updates,
            is_stale=self._is_stale(),
            unless_stale=self._composed("and not (s.{parent_id} = any(%(stale_parents)s))")
            if self.parent is not None
            else sql.SQL(""),
        )

    def _sweep(self) -> Query:
        """What a full read did not show is gone: rows, or lines of the parents it showed; but not
        what another run wrote meanwhile.
        """
        shown = "exists (select 1 from {seen_parent} p where p.id = t.{parent_id})"
        parent_is_shown = self._composed(shown) if self.parent is not None else sql.SQL("true")
        return self._say(
            "update {table} t set is_deleted = true, loaded_at = %(loaded_at)s,"
            " sync_run_id = %(sync_run_id)s where t.account = %(account)s and not t.is_deleted"
            " and not exists (select 1 from {seen} seen where seen.id = t.id)"
            " and not exists (select 1 from mkt_ops.sync_runs r"
            " where r.sync_run_id = t.sync_run_id and coalesce(r.finished_at > %(asked_at)s, true))"
            " and {parent_is_shown}",
            parent_is_shown=parent_is_shown,
        )


TOMBSTONES = """
with gone as materialized (
    select id, source_updated_at
    from json_to_recordset(%(rows)s::json) as j (id text, source_updated_at timestamptz)
),
verdicts as materialized (
    select
        gone.id,
        gone.source_updated_at,
        case
            when t.id is null or t.is_deleted then 'unchanged'
            when gone.source_updated_at < t.source_updated_at then 'stale'
            else 'tombstoned'
        end as verdict
    from gone left join {table} t on t.account = %(account)s and t.id = gone.id
),
buried as (
    update {table} t
    set
        is_deleted = true,
        source_updated_at = coalesce(verdicts.source_updated_at, t.source_updated_at),
        loaded_at = %(loaded_at)s,
        sync_run_id = %(sync_run_id)s
    from verdicts
    where t.account = %(account)s and t.id = verdicts.id and verdicts.verdict = 'tombstoned'
    returning t.id
)
select
    (select count(*) from buried),
    count(*) filter (where verdict = 'unchanged'),
    count(*) filter (where verdict = 'stale')
from verdicts
"""


@cache
def tombstones_of(system: str, deletes: str) -> Query:
    """Marks the rows that a stream of deletions names."""
    return sql.SQL(TOMBSTONES).format(table=qualified(system, deletes)).as_bytes()
