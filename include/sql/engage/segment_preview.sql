-- grain: one row: size, entering, leaving, ten members as (contact_id, email)
-- reads: pg_temp.segment_hits, core.contacts, engage.segment_memberships
-- rerun: writes nothing   params: segment
with hits as (
    select contact_id
    from pg_temp.segment_hits
),

current as (
    select contact_id
    from mkt_engage.segment_memberships
    where segment = %(segment)s and left_at is null
),

ten as (
    select
        h.contact_id,
        c.email
    from hits as h
    inner join mkt_core.contacts as c on h.contact_id = c.contact_id
    order by h.contact_id
    limit 10
)

select
    (select count(*) from hits) as size,
    (
        select count(*)
        from hits as h
        where not exists (select 1 from current as n where n.contact_id = h.contact_id)
    ) as entering,
    (
        select count(*)
        from current as n
        where not exists (select 1 from hits as h where h.contact_id = n.contact_id)
    ) as leaving,
    (
        select jsonb_agg(jsonb_build_array(t.contact_id, t.email) order by t.contact_id)
        from ten as t
    ) as members
