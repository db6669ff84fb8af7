-- grain: one object of the database that is not Postgres's own
-- key: (kind, schema, belongs_to, name)
-- reads: pg_catalog    params: none
-- rerun: reads only

with schemas as (
    select
        oid as schema_id,
        nspname as schema
    from pg_catalog.pg_namespace
    where
        nspname not like 'pg\_%'
        and nspname <> 'information_schema'
),

relations as (
    select
        schemas.schema,
        pg_class.oid as relation_id,
        pg_class.relname as relation,
        pg_class.relkind
    from pg_catalog.pg_class
    inner join schemas on pg_class.relnamespace = schemas.schema_id
),

tables as (
    select
        schema,
        relation_id,
        relation,
        relkind
    from relations
    where relkind in ('r', 'p', 'f')
),

columns as (
    select
        tables.schema,
        tables.relation as belongs_to,
        pg_attribute.attname as name,
        concat_ws(
            ' ',
            format_type(pg_attribute.atttypid, pg_attribute.atttypmod),
            case when pg_attribute.attnotnull then 'not null' end,
            'default ' || pg_get_expr(pg_attrdef.adbin, pg_attrdef.adrelid)
        ) as definition
    from pg_catalog.pg_attribute
    inner join tables on pg_attribute.attrelid = tables.relation_id
    left join pg_catalog.pg_attrdef
        on
            pg_attribute.attrelid = pg_attrdef.adrelid
            and pg_attribute.attnum = pg_attrdef.adnum
    where
        pg_attribute.attnum > 0
        and not pg_attribute.attisdropped
),

indexes as (
    select
        relations.schema,
        pg_class.relname as belongs_to,
        relations.relation as name,
        pg_get_indexdef(relations.relation_id) as definition
    from relations
    inner join pg_catalog.pg_index on relations.relation_id = pg_index.indexrelid
    inner join pg_catalog.pg_class on pg_index.indrelid = pg_class.oid
),

constraints as (
    select
        relations.schema,
        relations.relation as belongs_to,
        pg_constraint.conname as name,
        pg_get_constraintdef(pg_constraint.oid) as definition
    from pg_catalog.pg_constraint
    inner join relations on pg_constraint.conrelid = relations.relation_id
),

triggers as (
    select
        relations.schema,
        relations.relation as belongs_to,
        pg_trigger.tgname as name,
        pg_get_triggerdef(pg_trigger.oid) as definition
    from pg_catalog.pg_trigger
    inner join relations on pg_trigger.tgrelid = relations.relation_id
    where not pg_trigger.tgisinternal
),

functions as (
    select
        schemas.schema,
        '' as belongs_to,
        format(
            '%s(%s)', pg_proc.proname, pg_get_function_identity_arguments(pg_proc.oid)
        ) as name,
        pg_get_functiondef(pg_proc.oid) as definition
    from pg_catalog.pg_proc
    inner join schemas on pg_proc.pronamespace = schemas.schema_id
    where pg_proc.prokind in ('f', 'p')
),

-- Enums and domains; a table's own row type comes with it.
types as (
    select
        schemas.schema,
        '' as belongs_to,
        pg_type.typname as name,
        coalesce(
            string_agg(pg_enum.enumlabel, ',' order by pg_enum.enumsortorder),
            format_type(min(pg_type.typbasetype), min(pg_type.typtypmod))
        ) as definition
    from pg_catalog.pg_type
    inner join schemas on pg_type.typnamespace = schemas.schema_id
    left join pg_catalog.pg_enum on pg_type.oid = pg_enum.enumtypid
    where pg_type.typtype in ('e', 'd')
    group by schemas.schema, pg_type.typname
)

select
    'schema' as kind,
    schema,
    '' as belongs_to,
    schema as name,
    '' as definition
from schemas
union all
select
    'table' as kind,
    schema,
    '' as belongs_to,
    relation as name,
    relkind::text as definition
from tables
union all
select
    'view' as kind,
    schema,
    '' as belongs_to,
    relation as name,
    pg_get_viewdef(relation_id) as definition
from relations
where relkind in ('v', 'm')
union all
select
    'sequence' as kind,
    schema,
    '' as belongs_to,
    relation as name,
    '' as definition
from relations
where relkind = 'S'
union all
select
    'column' as kind,
    columns.*
from columns
union all
select
    'index' as kind,
    indexes.*
from indexes
union all
select
    'constraint' as kind,
    constraints.*
from constraints
union all
select
    'trigger' as kind,
    triggers.*
from triggers
union all
select
    'function' as kind,
    functions.*
from functions
union all
select
    'type' as kind,
    types.*
from types
