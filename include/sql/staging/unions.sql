-- grain: one record of any system        key: (system, account, external_id)
-- reads: every view mkt_staging.<system>__<entity>
-- rerun: replaces the views, which hold no data
--
-- mkt_staging.<entity> = the rows of every system that has a view <system>__<entity>. A new system
-- needs only that view; run after the systems' own files (this file's name sorts after stg_*).

do $$
declare
    shape record;
    body text;
begin
    for shape in
        select *
        from (
            values
            (
                'contacts',
                'system, account, external_id, email, is_email_verified, phone, first_name,'
                ' last_name, country, region, city, postal_code, language, time_zone, birth_date,'
                ' attributes, created_at, updated_at, is_deleted, sync_run_id'
            ),
            (
                'consents',
                'system, account, external_id, channel, topic, status, legal_basis, changed_at,'
                ' updated_at, sync_run_id'
            ),
            (
                'orders',
                'system, account, external_id, customer_id, email, name, placed_at, updated_at,'
                ' cancelled_at, financial_status, is_test, is_deleted, currency, gross_amount,'
                ' current_amount, discount_amount, refunded_amount, discount_codes, utm_source,'
                ' utm_medium, utm_campaign, sync_run_id'
            ),
            (
                'order_lines',
                'system, account, external_id, order_id, product_id, sku, title, quantity, amount,'
                ' discount_amount, is_deleted, sync_run_id'
            ),
            (
                'refunds',
                'system, account, external_id, order_id, refunded_at, amount, is_deleted,'
                ' sync_run_id'
            ),
            (
                'products',
                'system, account, external_id, sku, title, category, vendor, price, currency,'
                ' stock, image_url, url, is_deleted, updated_at, sync_run_id'
            ),
            (
                'carts',
                'system, account, external_id, customer_id, email, created_at, updated_at,'
                ' completed_at, currency, amount, lines, url, is_deleted, sync_run_id'
            )
        ) as shapes (entity, columns)
    loop
        select
            string_agg(
                format('select %s from mkt_staging.%I', shape.columns, views.viewname),
                ' union all ' order by views.viewname
            )
        into body
        from pg_catalog.pg_views as views
        where views.schemaname = 'mkt_staging' and views.viewname ~ ('^[a-z0-9_]+__' || shape.entity || '$');
        if body is not null then
            execute format('create or replace view mkt_staging.%I as %s', shape.entity, body);
        end if;
    end loop;
end
$$;
