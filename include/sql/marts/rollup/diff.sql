-- grain: one row of marts.kpi_daily that is missing, other or gone  key: as marts.kpi_daily
-- reads: temp kpi_new, kpi_wanted; marts.kpi_daily
-- rerun: fills temp kpi_diff for this transaction
-- params: catalogue (jsonb: kpi, kpi_group, is_additive, grains, dimension_sets)
with catalogue as (
    select c.*
    from jsonb_to_recordset(%(catalogue)s)
        as c (
            kpi text,
            kpi_group text,
            is_additive boolean,
            grains jsonb,
            dimension_sets jsonb
        )
),

computed as (
    select
        n.kpi,
        n.grain,
        n.date,
        n.dimension_set,
        n.dims,
        n.numerator,
        n.denominator,
        case
            when n.denominator is null then n.numerator
            else n.numerator / nullif(n.denominator, 0)
        end as value,
        n.currency,
        c.is_additive
    from pg_temp.kpi_new as n
    inner join catalogue as c on n.kpi = c.kpi
    where c.grains ? n.grain and c.dimension_sets ? n.dimension_set
),

stored as (
    select k.*
    from pg_temp.kpi_wanted as w
    inner join mkt_marts.kpi_daily as k on w.grain = k.grain and w.date = k.date
    where k.kpi in (select c.kpi from catalogue as c)
),

final as (
    select
        coalesce(n.kpi, s.kpi) as kpi,
        coalesce(n.grain, s.grain) as grain,
        coalesce(n.date, s.date) as date,
        coalesce(n.dimension_set, s.dimension_set) as dimension_set,
        coalesce(n.dims, s.dims) as dims,
        n.numerator,
        n.denominator,
        n.value,
        n.currency,
        n.is_additive,
        s.value as old_value,
        s.kpi is not null as is_old,
        n.kpi is not null as is_new
    from computed as n
    full outer join stored as s
        on
            n.kpi = s.kpi
            and n.grain = s.grain
            and n.date = s.date
            and n.dimension_set = s.dimension_set
            and n.dims = s.dims
    where
        n.kpi is null
        or s.kpi is null
        or (n.numerator, n.denominator, n.value, n.currency, n.is_additive)
        is distinct from (s.numerator, s.denominator, s.value, s.currency, s.is_additive)
)

insert into pg_temp.kpi_diff (
    kpi_group, kpi, grain, date, dimension_set, dims, numerator, denominator, value, currency,
    is_additive, old_value, is_old, is_new
)
select
    c.kpi_group,
    f.kpi,
    f.grain,
    f.date,
    f.dimension_set,
    f.dims,
    f.numerator,
    f.denominator,
    f.value,
    f.currency,
    f.is_additive,
    f.old_value,
    f.is_old,
    f.is_new
from final as f
inner join catalogue as c on f.kpi = c.kpi
