-- grain: one contact about whom something was learnt since last_batch   key: (contact_id)
-- reads: core.events, event_versions, contacts, consents, contact_merges, orders
-- rerun: adds nobody twice   params: last_batch, event_types, has_categories
with touched as (
    select
        e.contact_id,
        false as is_merged
    from mkt_core.events as e
    where e.batch > %(last_batch)s and e.event_type = any(%(event_types)s::text[])
    union all
    -- Inclusive: a removal outside a batch bears the number of the last batch before it.
    select
        v.contact_id,
        false as is_merged
    from mkt_core.event_versions as v
    where v.gone_batch >= %(last_batch)s and v.event_type = any(%(event_types)s::text[])
    union all
    select
        c.contact_id,
        false as is_merged
    from mkt_core.contacts as c
    where c.batch > %(last_batch)s
    union all
    select
        q.contact_id,
        false as is_merged
    from mkt_core.consents as q
    where q.batch > %(last_batch)s
    union all
    -- Two people known before became one: what that brings about is no news of theirs.
    select
        m.into_contact_id as contact_id,
        exists(
            select 1
            from mkt_core.contact_history as h
            where h.contact_id = m.from_contact_id and h.batch <= %(last_batch)s
        ) as is_merged
    from mkt_core.contact_merges as m
    where m.batch > %(last_batch)s or m.undone_batch > %(last_batch)s
    union all
    select
        m.from_contact_id as contact_id,
        true as is_merged
    from mkt_core.contact_merges as m
    where m.batch > %(last_batch)s or m.undone_batch > %(last_batch)s
    union all
    select
        o.contact_id,
        false as is_merged
    from mkt_core.orders as o
    where o.batch > %(last_batch)s and %(has_categories)s
    union all
    select
        o.contact_id,
        false as is_merged
    from mkt_core.product_category_changes as p
    inner join mkt_core.order_lines as l on p.product_id = l.product_id
    inner join mkt_core.orders as o on l.order_id = o.order_id
    where p.batch > %(last_batch)s and %(has_categories)s
)

insert into pg_temp.segment_touched (contact_id, is_merged)
select
    contact_id,
    bool_or(is_merged) as is_merged
from touched
where contact_id is not null
group by contact_id
on conflict (contact_id) do nothing
