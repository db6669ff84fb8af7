-- grain: one company of one account        key: (account, external_id)
-- reads: unify_changed, mkt_staging.companies        params: batch
-- writes: mkt_core.companies
-- rerun: changes nothing

insert into mkt_core.companies as held (
    system, account, external_id, name, domain, industry, country, city, employees, revenue,
    owner_id, attributes, created_at, updated_at, is_deleted, batch
)
select
    records.system,
    records.account,
    records.external_id,
    records.name,
    records.domain,
    records.industry,
    records.country,
    records.city,
    records.employees,
    records.revenue,
    records.owner_id,
    coalesce(records.attributes, '{}') as attributes,
    records.created_at,
    records.updated_at,
    records.is_deleted,
    %(batch)s::bigint
from unify_changed as changed
inner join mkt_staging.companies as records
    on changed.account = records.account and changed.external_id = records.external_id
left join mkt_core.companies as held
    on records.account = held.account and records.external_id = held.external_id
where
    changed.entity = 'companies'
    and (
        held.external_id is null
        or (
            records.name, records.domain, records.industry, records.country, records.city,
            records.employees, records.revenue, records.owner_id,
            coalesce(records.attributes, '{}'), records.created_at, records.updated_at,
            records.is_deleted
        ) is distinct from (
            held.name, held.domain, held.industry, held.country, held.city, held.employees,
            held.revenue, held.owner_id, held.attributes, held.created_at, held.updated_at,
            held.is_deleted
        )
    )
order by records.account, records.external_id
on conflict (account, external_id) do update
    set
        name = excluded.name,
        domain = excluded.domain,
        industry = excluded.industry,
        country = excluded.country,
        city = excluded.city,
        employees = excluded.employees,
        revenue = excluded.revenue,
        owner_id = excluded.owner_id,
        attributes = excluded.attributes,
        created_at = excluded.created_at,
        updated_at = excluded.updated_at,
        is_deleted = excluded.is_deleted,
        batch = excluded.batch;
