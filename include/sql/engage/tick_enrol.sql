-- grain: one enrolment made of a candidate that was taken
-- reads: tick_candidates, mkt_engage.campaign_nodes, mkt_core.carts
-- writes: mkt_engage.enrolments, tick_entered, tick_path; deletes the candidates it used
-- rerun: on conflict do nothing (campaign, profile, entry_ref)
-- params: rules (jsonb: campaign_id, campaign, holdout), at, entered_on, seq
with used as (
    delete from tick_candidates as c
    where c.is_taken
    returning c.*
),

entering as (
    select
        u.*,
        n.step_id,
        n.params,
        -- what the templates of a cart read, as it is now
        coalesce(
            jsonb_strip_nulls(
                jsonb_build_object('cart_value', k.amount, 'url', k.url, 'lines', k.lines)
            ),
            '{}'::jsonb
        ) || u.entry as frozen,
        -- the person's own draw: the same in every entry, so that the holdout stays comparable
        ('x' || substr(md5(r.campaign || ':holdout:' || u.profile_id), 1, 8))::bit(32)::bigint
        / 4294967296.0 < r.holdout as is_holdout
    from used as u
    inner join jsonb_to_recordset(%(rules)s) as r (
        campaign_id integer, campaign text, holdout double precision
    ) on u.campaign_id = r.campaign_id
    inner join mkt_engage.campaign_nodes as n
        on u.campaign_id = n.campaign_id and u.version = n.version and n.is_entry
    left join mkt_core.carts as k on (u.entry ->> 'cart_id')::bigint = k.cart_id
),

entered as (
    insert into mkt_engage.enrolments (
        campaign_id, version, contact_id, profile_id, shard, entry_ref, entered_at, entered_on,
        step_id, status, due_at, ctx, updated_at
    )
    select
        e.campaign_id,
        e.version,
        e.contact_id,
        e.profile_id,
        e.shard,
        e.entry_ref,
        e.entered_at,
        %(entered_on)s,
        case when e.is_holdout then null else e.step_id end as step_id,
        case when e.is_holdout then 'holdout' else 'active' end as status,
        case
            when e.is_holdout then null
            -- a wait until a time of day is computed by tick_until
            when e.params ? 'until' then 'infinity'::timestamptz
            else e.entered_at + make_interval(
                secs => coalesce((e.params ->> 'seconds')::double precision, 0)
            )
        end as due_at,
        jsonb_build_object('entry', e.frozen) as ctx,
        %(at)s as updated_at
    from entering as e
    on conflict (campaign_id, profile_id, entry_ref) do nothing
    returning enrolment_id, step_id, status, entry_ref
),

noted as (
    insert into tick_entered (enrolment_id)
    select e.enrolment_id from entered as e
)

insert into tick_path (enrolment_id, seq, from_step_id, to_step_id, reason, ref)
select
    e.enrolment_id,
    %(seq)s,
    null as from_step_id,
    e.step_id as to_step_id,
    case when e.status = 'holdout' then 'holdout' else 'entered' end as reason,
    e.entry_ref as ref
from entered as e;
