-- grain: one run        key: sync_run_id
-- reads: the counts of this process        params: arrays of equal length, one place per run
-- rerun: sets the same totals
update mkt_ops.sync_runs as runs
set
    fetched = books.fetched,
    inserted = books.inserted,
    updated = books.updated,
    unchanged = books.unchanged,
    duplicates = books.duplicates,
    stale = books.stale,
    rejected = books.rejected,
    tombstoned = books.tombstoned,
    pages = books.pages,
    source_count = books.source_count
from
    unnest(
        %(sync_run_id)s::bigint[],
        %(fetched)s::bigint[],
        %(inserted)s::bigint[],
        %(updated)s::bigint[],
        %(unchanged)s::bigint[],
        %(duplicates)s::bigint[],
        %(stale)s::bigint[],
        %(rejected)s::bigint[],
        %(tombstoned)s::bigint[],
        %(pages)s::bigint[],
        %(source_count)s::bigint[]
    )
        as books (
            sync_run_id,
            fetched,
            inserted,
            updated,
            unchanged,
            duplicates,
            stale,
            rejected,
            tombstoned,
            pages,
            source_count
        )
where runs.sync_run_id = books.sync_run_id
