-- grain: one product of one shop account        key: (account, external_id)
-- reads: unify_changed, mkt_staging.products        params: batch
-- writes: mkt_core.products
-- rerun: changes nothing

insert into mkt_core.products as held (
    system, account, external_id, sku, title, category, vendor, price, currency, stock, image_url,
    url, is_deleted, updated_at, batch
)
select
    records.system,
    records.account,
    records.external_id,
    records.sku,
    records.title,
    records.category,
    records.vendor,
    records.price,
    records.currency,
    records.stock,
    records.image_url,
    records.url,
    records.is_deleted,
    records.updated_at,
    %(batch)s::bigint
from unify_changed as changed
inner join mkt_staging.products as records
    on changed.account = records.account and changed.external_id = records.external_id
left join mkt_core.products as held
    on records.account = held.account and records.external_id = held.external_id
where
    changed.entity = 'products'
    and (
        held.product_id is null
        or (
            records.sku, records.title, records.category, records.vendor, records.price,
            records.currency, records.stock, records.image_url, records.url, records.is_deleted,
            records.updated_at
        ) is distinct from (
            held.sku, held.title, held.category, held.vendor, held.price, held.currency, held.stock,
            held.image_url, held.url, held.is_deleted, held.updated_at
        )
    )
order by records.account, records.external_id
on conflict (account, external_id) do update
    set
        sku = excluded.sku,
        title = excluded.title,
        category = excluded.category,
        vendor = excluded.vendor,
        price = excluded.price,
        currency = excluded.currency,
        stock = excluded.stock,
        image_url = excluded.image_url,
        url = excluded.url,
        is_deleted = excluded.is_deleted,
        updated_at = excluded.updated_at,
        batch = excluded.batch;
