-- grain: one key the source lists, and what is different about it here        key: id
-- reads: nothing
-- rerun: an empty table
drop table if exists pg_temp.reconcile_keys;
create temporary table reconcile_keys (id text primary key, updated_at timestamptz);
drop table if exists pg_temp.reconcile_differences;
create temporary table reconcile_differences (
    id text primary key,
    kind text not null,
    updated_at timestamptz,
    is_confirmed boolean not null default false
);
