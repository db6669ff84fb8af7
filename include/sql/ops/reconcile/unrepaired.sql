-- grain: one count
-- reads: reconcile_differences, reconcile_held        params: account
-- rerun: reads only
-- What the source did not show when asked is gone meanwhile: nothing is left to repair.
select count(*) as unrepaired
from reconcile_differences as differences
left join reconcile_held as held
    on held.account = %(account)s and differences.id = held.id
where
    differences.kind <> 'gone'
    and differences.is_confirmed
    and (
        held.id is null
        or held.is_deleted
        or held.source_updated_at + interval '1 second' < differences.updated_at
    )
