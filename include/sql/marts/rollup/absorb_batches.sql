-- grain: one KPI group and day                                      key: (kpi_group, date)
-- reads: core.contact_history, core.contact_merges, core.orders, core.refunds, core.contacts,
--        core.events
-- rerun: the same days again
-- params: zone, after_batch, batch
-- People whose home or identity changed move facts of days that unify had no reason to touch.
with moved as (
    select
        h.contact_id,
        case
            when exists (
                select 1
                from mkt_core.contact_history as e
                where e.contact_id = h.contact_id and e.valid_from < h.valid_from
            ) then h.valid_from
            else '-infinity'
        end as since,
        false as is_merge
    from mkt_core.contact_history as h
    left join lateral (
        select
            p.contact_id,
            p.country,
            p.region
        from mkt_core.contact_history as p
        where
            p.contact_id = h.contact_id
            and (p.valid_from, p.batch) < (h.valid_from, h.batch)
        order by p.valid_from desc, p.batch desc
        limit 1
    ) as before on true
    where
        h.batch > %(after_batch)s
        and h.batch <= %(batch)s
        and (
            before.contact_id is null
            or (before.country, before.region) is distinct from (h.country, h.region)
        )
    union
    select
        people.contact_id,
        '-infinity' as since,
        true as is_merge
    from mkt_core.contact_merges as m
    cross join
        lateral (
            values (m.from_contact_id), (m.into_contact_id)
        ) as people (contact_id)
    where
        (m.batch > %(after_batch)s and m.batch <= %(batch)s)
        or (m.undone_batch > %(after_batch)s and m.undone_batch <= %(batch)s)
),

final as (
    select
        'orders' as kpi_group,
        (o.placed_at at time zone %(zone)s)::date as date
    from moved as m
    inner join mkt_core.orders as o on m.contact_id = o.contact_id and m.since <= o.placed_at
    union
    select
        'orders' as kpi_group,
        (r.refunded_at at time zone %(zone)s)::date as date
    from moved as m
    inner join mkt_core.orders as o on m.contact_id = o.contact_id
    inner join mkt_core.refunds as r on o.order_id = r.order_id and m.since <= r.refunded_at
    union
    select
        'contacts' as kpi_group,
        (c.created_at at time zone %(zone)s)::date as date
    from moved as m
    inner join mkt_core.contacts as c on m.contact_id = c.contact_id
    union
    select
        'consents' as kpi_group,
        (e.occurred_at at time zone %(zone)s)::date as date
    from moved as m
    inner join mkt_core.events as e on m.contact_id = e.contact_id
    where m.is_merge and e.event_type in ('subscribed', 'unsubscribed')
)

insert into mkt_ops.dirty_days (kpi_group, date, batch)
select
    kpi_group,
    date,
    %(batch)s
from final
order by kpi_group, date
on conflict (kpi_group, date) do update set batch = greatest(dirty_days.batch, excluded.batch)
