-- Numbers people decide by.

-- grain: one KPI, grain, period start and combination of dimension values
create table mkt_marts.kpi_daily (
    kpi text not null,
    grain text not null check (grain in ('day', 'week', 'month')),
    date date not null,
    dimension_set text not null,
    dims jsonb not null,
    numerator numeric,
    denominator numeric,
    value numeric,
    currency text,
    is_additive boolean not null,
    primary key (kpi, grain, date, dimension_set, dims)
);
create index on mkt_marts.kpi_daily (date, kpi);

comment on column mkt_marts.kpi_daily.value is
'numerator / denominator; null = undefined, 0 = a measured zero. Sum parts, never values.';

-- grain: one past number that changed
create table mkt_marts.kpi_revisions (
    revision_id bigint generated always as identity primary key,
    kpi text not null,
    grain text not null,
    date date not null,
    dimension_set text not null,
    dims jsonb not null,
    old_value numeric,
    new_value numeric,
    cause text not null,
    revised_at timestamptz not null
);
create index on mkt_marts.kpi_revisions (kpi, date);
