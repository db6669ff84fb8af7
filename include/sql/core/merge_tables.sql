-- grain: one identity whose contact may change; one key that may join it to others
-- reads: nothing
-- rerun: made anew in each transaction that needs them

create temporary table unify_group (
    profile_id bigint primary key,
    old_contact_id bigint not null,
    label bigint not null
) on commit drop;

create temporary table unify_links (
    kind text not null,
    key_hash uuid not null,
    profile_id bigint not null,
    primary key (kind, key_hash, profile_id)
) on commit drop;
