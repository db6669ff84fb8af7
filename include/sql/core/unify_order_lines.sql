-- grain: one line of one order        key: (account, external_id)
-- reads: unify_changed, mkt_staging.order_lines, mkt_core.{orders,products}
-- params: batch, timezone
-- writes: mkt_core.{order_lines,products,waiting_facts}, mkt_ops.dirty_days
-- rerun: changes nothing
--
-- A line whose order is not there waits for it. A product not there yet gets a row of its id alone.
-- A touched order keeps only the lines its source still shows.

with arrived as (
    select
        held.order_id,
        held.placed_at
    from unify_changed as changed
    inner join mkt_core.orders as held
        on changed.account = held.account and changed.external_id = held.external_id
    where changed.entity = 'orders'
),

resolved as materialized (
    select
        records.*,
        orders.order_id as core_order_id,
        orders.placed_at,
        products.product_id as core_product_id
    from unify_changed as changed
    inner join mkt_staging.order_lines as records
        on changed.account = records.account and changed.external_id = records.external_id
    left join mkt_core.orders as orders
        on records.account = orders.account and records.order_id = orders.external_id
    left join mkt_core.products as products
        on records.account = products.account and records.product_id = products.external_id
    where changed.entity = 'order_lines'
),

waiting as (
    insert into mkt_core.waiting_facts (entity, account, parent_id, external_id, batch)
    select
        'order_lines' as entity,
        account,
        order_id,
        external_id,
        %(batch)s::bigint
    from resolved
    where core_order_id is null and order_id is not null and not is_deleted
    on conflict do nothing
    returning external_id
),

stubs as (
    insert into mkt_core.products (system, account, external_id, batch)
    select distinct
        system,
        account,
        product_id,
        %(batch)s::bigint
    from resolved
    where core_product_id is null and product_id is not null and core_order_id is not null
    on conflict (account, external_id) do nothing
    returning product_id, account, external_id
),

compared as materialized (
    select
        resolved.account,
        resolved.external_id,
        resolved.core_order_id,
        resolved.placed_at,
        coalesce(resolved.core_product_id, stubs.product_id) as core_product_id,
        resolved.sku,
        resolved.title,
        resolved.quantity,
        resolved.amount,
        resolved.discount_amount,
        held.external_id is null as is_new
    from resolved
    left join stubs
        on
            resolved.core_product_id is null
            and resolved.account = stubs.account
            and resolved.product_id = stubs.external_id
    left join mkt_core.order_lines as held
        on resolved.account = held.account and resolved.external_id = held.external_id
    where
        resolved.core_order_id is not null
        and not resolved.is_deleted
        and (
            held.external_id is null
            or (
                resolved.core_order_id, coalesce(resolved.core_product_id, stubs.product_id),
                resolved.sku, resolved.title, resolved.quantity, resolved.amount,
                resolved.discount_amount
            ) is distinct from (
                held.order_id, held.product_id, held.sku, held.title, held.quantity, held.amount,
                held.discount_amount
            )
        )
),

touched as (
    select
        order_id,
        placed_at
    from arrived
    union
    select
        core_order_id,
        placed_at
    from resolved where core_order_id is not null
),

removed as (
    delete from mkt_core.order_lines as held
    using touched
    where
        held.order_id = touched.order_id
        and not exists (
            select 1 from mkt_staging.order_lines as records
            where
                records.account = held.account
                and records.external_id = held.external_id
                and not records.is_deleted
        )
    returning touched.placed_at
),

-- No `on conflict`: its speculative insertion would cost a first load a quarter more.
inserted as (
    insert into mkt_core.order_lines (
        account, external_id, order_id, product_id, sku, title, quantity, amount, discount_amount,
        batch
    )
    select
        account,
        external_id,
        core_order_id,
        core_product_id,
        sku,
        title,
        quantity,
        amount,
        discount_amount,
        %(batch)s::bigint
    from compared
    where is_new
),

updated as (
    update mkt_core.order_lines as held
    set
        order_id = compared.core_order_id,
        product_id = compared.core_product_id,
        sku = compared.sku,
        title = compared.title,
        quantity = compared.quantity,
        amount = compared.amount,
        discount_amount = compared.discount_amount,
        batch = %(batch)s::bigint
    from compared
    where
        not compared.is_new
        and held.account = compared.account
        and held.external_id = compared.external_id
),

dirty as (
    insert into mkt_ops.dirty_days (kpi_group, date, batch)
    select distinct
        'orders' as kpi_group,
        (placed_at at time zone %(timezone)s)::date,
        %(batch)s::bigint
    from (
        select placed_at from compared
        union all
        select placed_at from removed
    ) as moments
    on conflict (kpi_group, date) do update set batch = excluded.batch
    returning date
)

select
    (select count(*) from compared) as changes,
    (select count(*) from removed) as removed,
    (select count(*) from waiting) as waiting,
    (select count(*) from stubs) as stubs,
    (select count(*) from dirty) as days;
