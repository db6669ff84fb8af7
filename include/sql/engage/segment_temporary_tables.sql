-- grain: segment_touched: one contact to look at again; segment_hits: one member found;
--        segment_heard: one member found without the newest baseline batches;
--        segment_current: one open membership of those looked at
-- reads: nothing   rerun: keeps what is there; rows live for one transaction
create temp table if not exists segment_touched (
    contact_id bigint primary key,
    is_merged boolean not null
) on commit delete rows;
create temp table if not exists segment_hits (
    contact_id bigint not null,
    segment text not null default ''
) on commit delete rows;
create temp table if not exists segment_heard (
    contact_id bigint not null,
    segment text not null
) on commit delete rows;
create temp table if not exists segment_current (
    contact_id bigint not null,
    segment text not null
) on commit delete rows;
