-- grain: one record of any system        key: (system, account, external_id)
-- reads: every view mkt_staging.<system>__<entity>
-- rerun: replaces the views, which hold no data
--
-- mkt_staging.<entity> = the rows of every system that has a view <system>__<entity>; no system, no
-- row. A new system needs only that view; run after the systems' own files (this file's name sorts
-- after stg_*).

do $$
declare
    shape record;
    body text;
begin
    for shape in
        select
            shapes.entity,
            string_agg(
                format('%1$I::%2$s as %1$I', split_part(item, ' ', 1), split_part(item, ' ', 2)),
                ', ' order by place
            ) as columns,
            string_agg(
                format('null::%2$s as %1$I', split_part(item, ' ', 1), split_part(item, ' ', 2)),
                ', ' order by place
            ) as nothing
        from (
            values
            (
                'contacts',
                'system text, account text, external_id text, email text, is_email_verified boolean,'
                ' phone text, first_name text, last_name text, country text, region text,'
                ' city text, postal_code text, language text, time_zone text, birth_date date,'
                ' attributes jsonb, created_at timestamptz, updated_at timestamptz,'
                ' is_deleted boolean, sync_run_id bigint'
            ),
            -- external_id was merged into into_external_id at the vendor
            (
                'merges',
                'system text, account text, external_id text, into_external_id text,'
                ' sync_run_id bigint'
            ),
            (
                'consents',
                'system text, account text, external_id text, channel text, topic text,'
                ' status text, legal_basis text, changed_at timestamptz, updated_at timestamptz,'
                ' sync_run_id bigint'
            ),
            (
                'orders',
                'system text, account text, external_id text, customer_id text, email text,'
                ' name text, placed_at timestamptz, updated_at timestamptz,'
                ' cancelled_at timestamptz, financial_status text, is_test boolean,'
                ' is_deleted boolean, currency text, gross_amount numeric, current_amount numeric,'
                ' discount_amount numeric, refunded_amount numeric, discount_codes text[],'
                ' utm_source text, utm_medium text, utm_campaign text, sync_run_id bigint'
            ),
            (
                'order_lines',
                'system text, account text, external_id text, order_id text, product_id text,'
                ' sku text, title text, quantity numeric, amount numeric, discount_amount numeric,'
                ' is_deleted boolean, sync_run_id bigint'
            ),
            (
                'refunds',
                'system text, account text, external_id text, order_id text,'
                ' refunded_at timestamptz, amount numeric, is_deleted boolean, sync_run_id bigint'
            ),
            (
                'products',
                'system text, account text, external_id text, sku text, title text, category text,'
                ' vendor text, price numeric, currency text, stock bigint, image_url text,'
                ' url text, is_deleted boolean, updated_at timestamptz, sync_run_id bigint'
            ),
            (
                'carts',
                'system text, account text, external_id text, customer_id text, email text,'
                ' created_at timestamptz, updated_at timestamptz, completed_at timestamptz,'
                ' currency text, amount numeric, lines jsonb, url text, is_deleted boolean,'
                ' sync_run_id bigint'
            ),
            (
                'companies',
                'system text, account text, external_id text, name text, domain text,'
                ' industry text, country text, city text, employees bigint, revenue numeric,'
                ' owner_id text, attributes jsonb, created_at timestamptz, updated_at timestamptz,'
                ' is_deleted boolean, sync_run_id bigint'
            ),
            (
                'owners',
                'system text, account text, external_id text, email text, first_name text,'
                ' last_name text, team text, is_active boolean, is_deleted boolean,'
                ' sync_run_id bigint'
            ),
            (
                'stages',
                'system text, account text, external_id text, pipeline_id text, pipeline text,'
                ' name text, position bigint, probability numeric, is_closed boolean,'
                ' is_won boolean, is_deleted boolean, sync_run_id bigint'
            ),
            -- contact_ids: external ids, the primary contact first
            (
                'deals',
                'system text, account text, external_id text, name text, pipeline_id text,'
                ' stage_id text, amount numeric, currency text, owner_id text, company_id text,'
                ' contact_ids jsonb, lost_reason text, created_at timestamptz,'
                ' closed_at timestamptz, updated_at timestamptz, is_deleted boolean,'
                ' sync_run_id bigint'
            ),
            (
                'deal_stages',
                'system text, account text, external_id text, deal_id text, stage_id text,'
                ' entered_at timestamptz, is_deleted boolean, sync_run_id bigint'
            ),
            (
                'lists',
                'system text, account text, external_id text, name text, kind text, size bigint,'
                ' updated_at timestamptz, is_deleted boolean, sync_run_id bigint'
            ),
            (
                'list_members',
                'system text, account text, external_id text, list_id text, contact_id text,'
                ' added_at timestamptz, is_deleted boolean, sync_run_id bigint'
            ),
            -- contact_id: the external id, null where only the address is known
            (
                'email_events',
                'system text, account text, external_id text, contact_id text, email text,'
                ' event_type text, occurred_at timestamptz, campaign text, url text,'
                ' is_machine boolean, properties jsonb, is_deleted boolean, sync_run_id bigint'
            )
        ) as shapes (entity, columns)
        cross join lateral string_to_table(shapes.columns, ', ') with ordinality as list (item, place)
        group by shapes.entity
    loop
        select
            string_agg(
                format('select %s from mkt_staging.%I', shape.columns, views.viewname),
                ' union all ' order by views.viewname
            )
        into body
        from pg_catalog.pg_views as views
        where views.schemaname = 'mkt_staging' and views.viewname ~ ('^[a-z0-9_]+__' || shape.entity || '$');
        execute format(
            'create or replace view mkt_staging.%I as %s',
            shape.entity, coalesce(body, format('select %s where false', shape.nothing))
        );
    end loop;
end
$$;
