-- grain: one person of the sales team        key: (account, external_id)
-- reads: unify_changed, mkt_staging.owners        params: batch
-- writes: mkt_core.owners
-- rerun: changes nothing

insert into mkt_core.owners as held (
    system, account, external_id, email, first_name, last_name, team, is_active, is_deleted, batch
)
select
    records.system,
    records.account,
    records.external_id,
    records.email,
    records.first_name,
    records.last_name,
    records.team,
    coalesce(records.is_active, true) as is_active,
    records.is_deleted,
    %(batch)s::bigint
from unify_changed as changed
inner join mkt_staging.owners as records
    on changed.account = records.account and changed.external_id = records.external_id
left join mkt_core.owners as held
    on records.account = held.account and records.external_id = held.external_id
where
    changed.entity = 'owners'
    and (
        held.external_id is null
        or (
            records.email, records.first_name, records.last_name, records.team,
            coalesce(records.is_active, true), records.is_deleted
        ) is distinct from (
            held.email, held.first_name, held.last_name, held.team, held.is_active, held.is_deleted
        )
    )
order by records.account, records.external_id
on conflict (account, external_id) do update
    set
        email = excluded.email,
        first_name = excluded.first_name,
        last_name = excluded.last_name,
        team = excluded.team,
        is_active = excluded.is_active,
        is_deleted = excluded.is_deleted,
        batch = excluded.batch;
