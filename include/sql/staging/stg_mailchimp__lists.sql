-- grain: one audience, or one segment or tag of an audience        key: (account, external_id)
-- reads: mkt_raw.mailchimp__audiences, mkt_raw.mailchimp__segments
-- rerun: replaces the view, which holds no data

create or replace view mkt_staging.mailchimp__lists as
select
    'mailchimp'::text as system,
    audiences.account,
    audiences.id as external_id,
    audiences.name,
    'audience'::text as kind,
    audiences.member_count as size,
    audiences.created_at as updated_at,
    audiences.is_deleted,
    audiences.sync_run_id
from mkt_raw.mailchimp__audiences as audiences
union all
select
    'mailchimp'::text as system,
    segments.account,
    segments.id as external_id,
    segments.name,
    segments.type as kind,
    segments.member_count as size,
    segments.updated_at,
    segments.is_deleted,
    segments.sync_run_id
from mkt_raw.mailchimp__segments as segments;
