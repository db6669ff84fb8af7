-- grain: one merge        key: merge_id
-- reads: unify_group, unify_links        params: batch, now        writes: mkt_core.contact_merges
-- rerun: changes nothing
-- Each identity that is not the first of its contact has one open merge into it.

insert into mkt_core.contact_merges (
    from_contact_id, into_contact_id, matched_on, batch, merged_at, from_profile_ids,
    into_profile_ids
)
with joined as (
    select
        members.profile_id as from_id,
        members.label as into_id,
        case
            when members.old_contact_id = members.profile_id
                then array(
                    select own.profile_id from unify_group as own
                    where own.old_contact_id = members.profile_id and own.label = members.label
                    order by own.profile_id
                )
            else array[members.profile_id]
        end as from_profile_ids
    from unify_group as members
    where
        members.profile_id <> members.label
        and not exists (
            select 1 from mkt_core.contact_merges as known
            where known.from_contact_id = members.profile_id and known.undone_batch is null
        )
)

select
    joined.from_id,
    joined.into_id,
    coalesce(
        (
            select string_agg(distinct kinds.kind, '+' order by kinds.kind)
            from unify_links as own
            cross join
                lateral (
                    select
                        case own.kind
                            when 'record' then 'merge at the vendor' else own.kind
                        end as kind
                ) as kinds
            inner join unify_links as others
                on own.kind = others.kind and own.key_hash = others.key_hash
            where
                own.profile_id = any(joined.from_profile_ids)
                and others.profile_id <> all(joined.from_profile_ids)
        ),
        'key'
    ) as matched_on,
    %(batch)s::bigint,
    %(now)s::timestamptz,
    joined.from_profile_ids,
    array(
        select others.profile_id from unify_group as others
        where others.label = joined.into_id and others.profile_id <> all(joined.from_profile_ids)
        order by others.profile_id
    ) as into_profile_ids
from joined
order by joined.from_id;
