-- grain: one stage of one pipeline        key: (account, external_id)
-- reads: unify_changed, mkt_staging.stages, mkt_core.deals        params: batch
-- writes: mkt_core.pipeline_stages, unify_changed
-- rerun: changes nothing
--
-- A stage that now wins or closes what it did not before, or that came after its deals, takes the
-- deals in it along.

with compared as materialized (
    select
        records.system,
        records.account,
        records.external_id,
        records.pipeline_id,
        records.pipeline,
        records.name,
        records.position,
        records.probability,
        coalesce(records.is_closed, false) as is_closed,
        coalesce(records.is_won, false) as is_won,
        records.is_deleted,
        coalesce(records.is_closed, false) <> coalesce(held.is_closed, false)
        or coalesce(records.is_won, false) <> coalesce(held.is_won, false)
            as decides_anew
    from unify_changed as changed
    inner join mkt_staging.stages as records
        on changed.account = records.account and changed.external_id = records.external_id
    left join mkt_core.pipeline_stages as held
        on records.account = held.account and records.external_id = held.external_id
    where
        changed.entity = 'stages'
        and (
            held.external_id is null
            or (
                records.pipeline_id, records.pipeline, records.name, records.position,
                records.probability, coalesce(records.is_closed, false),
                coalesce(records.is_won, false), records.is_deleted
            ) is distinct from (
                held.pipeline_id, held.pipeline, held.name, held.position, held.probability,
                held.is_closed, held.is_won, held.is_deleted
            )
        )
),

stored as (
    insert into mkt_core.pipeline_stages (
        system, account, external_id, pipeline_id, pipeline, name, position, probability,
        is_closed, is_won, is_deleted, batch
    )
    select
        system,
        account,
        external_id,
        pipeline_id,
        pipeline,
        name,
        position,
        probability,
        is_closed,
        is_won,
        is_deleted,
        %(batch)s::bigint
    from compared
    order by account, external_id
    on conflict (account, external_id) do update
        set
            pipeline_id = excluded.pipeline_id,
            pipeline = excluded.pipeline,
            name = excluded.name,
            position = excluded.position,
            probability = excluded.probability,
            is_closed = excluded.is_closed,
            is_won = excluded.is_won,
            is_deleted = excluded.is_deleted,
            batch = excluded.batch
),

taken_along as (
    insert into unify_changed (entity, account, external_id)
    select
        'deals' as entity,
        deals.account,
        deals.external_id
    from compared
    inner join mkt_core.deals as deals
        on compared.account = deals.account and compared.external_id = deals.stage_id
    where
        compared.decides_anew
        and not exists (
            select 1 from unify_changed as changed
            where
                changed.entity = 'deals'
                and changed.account = deals.account
                and changed.external_id = deals.external_id
        )
    returning external_id
)

select
    (select count(*) from compared) as changes,
    (select count(*) from taken_along) as deals;
