-- grain: one open cause; closed when the last subject that showed it works again
-- reads: mkt_ops.incidents    params: subject, at
-- rerun: changes nothing more
update mkt_ops.incidents
set
    details = jsonb_set(details, '{subjects}', (details -> 'subjects') - %(subject)s::text),
    closed_at = case
        when (details -> 'subjects') - %(subject)s::text = '[]' then %(at)s::timestamptz
    end
where
    closed_at is null
    and details -> 'subjects' @> jsonb_build_array(%(subject)s::text)
