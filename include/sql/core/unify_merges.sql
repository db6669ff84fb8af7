-- grain: one record that its vendor merged, or merged into        key: (profile_id, kind, key_hash)
-- reads: mkt_staging.merges, mkt_core.contact_identities        params: runs, batch
-- writes: mkt_core.identity_keys
-- rerun: changes nothing
-- What was merged and what it became hold one key, so that they stay one person for good. Returns
-- the identities whose key is new.

with merged as materialized (
    select
        records.system,
        records.account,
        records.external_id,
        records.into_external_id,
        md5(concat_ws(':', records.system, records.account, records.into_external_id))::uuid
            as key_hash
    from mkt_staging."merges" as records
    where records.sync_run_id = any(%(runs)s::bigint[])
),

sides as (
    select
        system,
        account,
        external_id,
        key_hash
    from merged
    union
    select
        system,
        account,
        into_external_id,
        key_hash
    from merged
),

inserted as (
    insert into mkt_core.identity_keys (profile_id, kind, key_hash, batch)
    select
        known.profile_id,
        'record' as kind,
        sides.key_hash,
        %(batch)s::bigint
    from sides
    inner join mkt_core.contact_identities as known
        on
            sides.system = known.system
            and sides.account = known.account
            and sides.external_id = known.external_id
    order by known.profile_id, sides.key_hash
    on conflict do nothing
    returning profile_id
)

select array(select distinct profile_id from inserted) as seeds;
