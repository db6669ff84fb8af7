-- How far each shard of contacts has been ticked, so that a killed tick repeats nothing.

-- grain: one shard of contacts. Facts up to (seen_batch, seen_at) were acted on; moved by the
-- transaction that acted, so an entry is judged exactly once whatever dies in between.
create table mkt_engage.shard_marks (
    shard smallint primary key check (shard between 0 and 63),
    seen_batch bigint not null default 0,
    seen_at timestamptz not null default '-infinity',
    seen_segments jsonb not null default '{}',
    tick_id bigint
);
insert into mkt_engage.shard_marks (shard)
select s.shard from generate_series(0, 63) as s (shard);

comment on column mkt_engage.shard_marks.seen_segments is
'segment -> instant of the last evaluation whose entries and leavings were acted on';

-- grain: one campaign and shard whose entries wait: its own, older marks (a pause, a tripped
-- guard), or a start that enrols the people who are there already. Gone once they were taken.
create table mkt_engage.campaign_marks (
    campaign_id integer not null references mkt_engage.campaigns,
    shard smallint not null,
    seen_batch bigint not null,
    seen_at timestamptz not null,
    seen_segments jsonb not null default '{}',
    is_existing boolean not null default false,
    primary key (campaign_id, shard)
);

alter table mkt_engage.campaigns add column entries_stopped_at timestamptz;
comment on column mkt_engage.campaigns.entries_stopped_at is
'set by guards.max_entries: nobody enters until `resume`';
comment on column mkt_engage.campaigns.seen_batch is
'the last batch when it was started: older facts enrol nobody';
comment on column mkt_engage.campaigns.seen_at is
'when it was started: what happened earlier enrols nobody';

create index on mkt_engage.enrolments (campaign_id, entered_at);
