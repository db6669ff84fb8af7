-- grain: one enrolment that came to a wait until a time of day: the next such instant in its zone
-- reads: tick_work, mkt_engage.campaign_nodes, mkt_core.contacts, mkt_core.time_zones,
--        mkt_core.region_time_zones    params: reporting_zone
-- rerun: the same instant. Postgres moves a time in a spring gap forward and takes the second of
--        a doubled hour in autumn.
update tick_work as w
set due_at = u.due_at, is_changed = true
from (
    select
        d.enrolment_id,
        min(i.instant) as due_at
    from tick_work as d
    inner join mkt_engage.campaign_nodes as n
        on d.campaign_id = n.campaign_id and d.version = n.version and d.step_id = n.step_id
    left join mkt_core.contacts as c on d.contact_id = c.contact_id
    left join mkt_core.time_zones as z on lower(c.time_zone) = z.lower_name
    left join mkt_core.region_time_zones as r on c.country = r.country and c.region = r.region
    left join mkt_core.region_time_zones as y on c.country = y.country and y.region = ''
    cross join
        lateral (
            select case n.params ->> 'timezone'
                when
                    'contact'
                    then coalesce(z.time_zone, r.time_zone, y.time_zone, %(reporting_zone)s)
                when 'reporting' then %(reporting_zone)s
                else n.params ->> 'timezone'
            end as zone
        ) as q
    cross join
        lateral (
            select
                day.day,
                (day.day + (n.params ->> 'until')::time) at time zone q.zone as instant
            from generate_series(0, 8) as g (shift)
            cross join
                lateral (select (d.base_at at time zone q.zone)::date + g.shift as day) as day
        ) as i
    where
        d.status = 'active'
        and d.due_at = 'infinity'
        and i.instant >= d.base_at
        and n.params -> 'weekdays' @> to_jsonb((extract(isodow from i.day) - 1)::integer)
    group by d.enrolment_id
) as u
where w.enrolment_id = u.enrolment_id;
