-- grain: one key of one identity        key: (profile_id, kind, key_hash)
-- reads: mkt_core.identity_keys        params: from_profiles, into_profiles
-- writes: mkt_core.identity_keys
-- rerun: changes nothing
-- The keys through which one side is joined to the other (null: to anybody) join it to nobody any
-- more.

update mkt_core.identity_keys as own
set is_cut = true
where
    own.profile_id = any(%(from_profiles)s::bigint[])
    and not own.is_cut
    and exists (
        select 1 from mkt_core.identity_keys as others
        where
            others.kind = own.kind
            and others.key_hash = own.key_hash
            and not others.is_cut
            and others.profile_id <> all(%(from_profiles)s::bigint[])
            and (
                %(into_profiles)s::bigint[] is null
                or others.profile_id = any(%(into_profiles)s::bigint[])
            )
    );
