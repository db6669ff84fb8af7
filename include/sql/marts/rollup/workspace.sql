-- grain: the roll-up's own temporary tables, emptied by every commit
-- reads: nothing
-- rerun: makes what is missing
-- params: none

-- grain: one day of one wanted period
create temp table if not exists kpi_calendar (
    date date not null,
    grain text not null,
    period date not null,
    period_at timestamptz not null
) on commit delete rows;

-- grain: one wanted period
create temp table if not exists kpi_wanted (
    grain text not null,
    date date not null,
    last_date date not null,
    is_closed boolean not null
) on commit delete rows;

-- grain: one row as the KPI files return it
create temp table if not exists kpi_new (
    kpi text not null,
    grain text not null,
    date date not null,
    dimension_set text not null,
    dims jsonb not null,
    numerator numeric,
    denominator numeric,
    currency text
) on commit delete rows;

-- grain: one row of marts.kpi_daily that has to change
create temp table if not exists kpi_diff (
    kpi_group text not null,
    kpi text not null,
    grain text not null,
    date date not null,
    dimension_set text not null,
    dims jsonb not null,
    numerator numeric,
    denominator numeric,
    value numeric,
    currency text,
    is_additive boolean,
    old_value numeric,
    is_old boolean not null,
    is_new boolean not null
) on commit delete rows;

-- grain: one dirty day as read; mark tells whether somebody wrote it again since
create temp table if not exists kpi_seen (
    kpi_group text not null,
    date date not null,
    mark xid not null
) on commit delete rows;
