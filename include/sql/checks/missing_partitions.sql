-- says: a table has no partition for the coming days, so that new rows would be refused
-- grain: one table
-- reads: pg_catalog    params: at
-- rerun: reads only
with

wanted as (
    select
        tables.name,
        days.day
    from
        (
            values ('mkt_core.events'), ('mkt_engage.sends'), ('mkt_engage.enrolment_log')
        ) as tables (name)
    cross join
        (
            values (%(at)s::timestamptz), (%(at)s::timestamptz + interval '7 days')
        ) as days (day)
),

final as (
    select
        name as subject,
        'no partition ' || to_char(day, 'YYYYMM') as detail
    from wanted
    where to_regclass(name || '_' || to_char(day, 'YYYYMM')) is null
)

select distinct
    subject,
    detail
from final
order by subject, detail
