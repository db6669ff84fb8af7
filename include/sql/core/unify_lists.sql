-- grain: one list, audience, segment or tag of a vendor        key: (account, external_id)
-- reads: unify_changed, mkt_staging.lists        params: batch
-- writes: mkt_core.lists
-- rerun: changes nothing

insert into mkt_core.lists as held (
    system, account, external_id, name, kind, size, updated_at, is_deleted, batch
)
select
    records.system,
    records.account,
    records.external_id,
    records.name,
    records.kind,
    records.size,
    records.updated_at,
    records.is_deleted,
    %(batch)s::bigint
from unify_changed as changed
inner join mkt_staging.lists as records
    on changed.account = records.account and changed.external_id = records.external_id
left join mkt_core.lists as held
    on records.account = held.account and records.external_id = held.external_id
where
    changed.entity = 'lists'
    and (
        held.external_id is null
        or (
            records.name, records.kind, records.size, records.updated_at, records.is_deleted
        ) is distinct from (
            held.name, held.kind, held.size, held.updated_at, held.is_deleted
        )
    )
order by records.account, records.external_id
on conflict (account, external_id) do update
    set
        name = excluded.name,
        kind = excluded.kind,
        size = excluded.size,
        updated_at = excluded.updated_at,
        is_deleted = excluded.is_deleted,
        batch = excluded.batch;
