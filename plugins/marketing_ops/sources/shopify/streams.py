"""The streams of a shop: which fields are read, and how each kind of record changes and vanishes.

`api` of a stream holds: `root` (the query's connection), `selection` (the fields of a node), `sort`
(sort key), `filter` (a constant part of the search), `by` (the search field of the window, and the
record's key with that instant), `sorted` (the same for the sort key), `node` (the type's name) and
`connections` (nested connections: name -> fields of a node), of which `nested_page` nodes are asked
for at first.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from marketing_ops.sources.base import Column, ColumnType, Schedule, Stream

NESTED_PAGE = 30
"""Nested records asked for beside their parent; the rest of a longer list is paged by itself."""


def _api(
    root: str,
    selection: str,
    sort: str,
    *,
    node: str,
    by: tuple[str, str] = ("updated_at", "updatedAt"),
    ordered: tuple[str, str] | None = None,
    extra_filter: str = "",
    connections: dict[str, str] | None = None,
    nested_page: int = NESTED_PAGE,
) -> dict[str, Any]:
    return {
        "root": root,
        "selection": selection,
        "sort": sort,
        "node": node,
        "by": by,
        "sorted": ordered or by,
        "filter": extra_filter,
        "connections": connections or {},
        "nested_page": nested_page,
    }


def _column(name: str, kind: ColumnType, path: str) -> Column:
    return Column(name, kind, path)


def _gid(name: str, path: str) -> Column:
    return Column(name, "text", path, is_gid=True)


_CUSTOMERS = Stream(
    name="customers",
    columns=(
        _gid("id", "id"),
        _column("first_name", "text", "firstName"),
        _column("last_name", "text", "lastName"),
        _column("email", "text", "defaultEmailAddress.emailAddress"),
        _column("email_marketing_state", "text", "defaultEmailAddress.marketingState"),
        _column(
            "email_consent_updated_at", "timestamptz", "defaultEmailAddress.marketingUpdatedAt"
        ),
        _column("phone", "text", "defaultPhoneNumber.phoneNumber"),
        _column("tags", "jsonb", "tags"),
        _column("country_code", "text", "defaultAddress.countryCodeV2"),
        _column("region", "text", "defaultAddress.provinceCode"),
        _column("city", "text", "defaultAddress.city"),
        _column("postal_code", "text", "defaultAddress.zip"),
        _column("locale", "text", "locale"),
        _column("number_of_orders", "bigint", "numberOfOrders"),
        _column("amount_spent", "numeric", "amountSpent.amount"),
        _column("currency", "text", "amountSpent.currencyCode"),
        _column("created_at", "timestamptz", "createdAt"),
        _column("updated_at", "timestamptz", "updatedAt"),
    ),
    cursor="updated_at",
    # The schema says of this filter "matching a whole day" (2026-10): ask a day more on each side
    # and cut here. Newest first, so that an hour's run reads its hour and not the whole day.
    filter_margin=timedelta(days=1),
    is_ascending=False,
    is_newest_first=True,
    page_size=100,
    has_bulk=True,
    is_complete=True,
    is_reconciled=True,
    entity="contacts",
    note="needs the scope read_customers",
    api=_api(
        "customers",
        "id firstName lastName"
        " defaultEmailAddress{emailAddress marketingState marketingUpdatedAt}"
        " defaultPhoneNumber{phoneNumber} tags"
        " defaultAddress{countryCodeV2 provinceCode city zip} locale numberOfOrders"
        " amountSpent{amount currencyCode} createdAt updatedAt",
        "UPDATED_AT",
        node="Customer",
    ),
)

_ORDER_LINES = Stream(
    name="order_lines",
    parent="orders",
    parent_column="order_id",
    nested="lineItems.nodes",
    line_mark="/LineItem/",
    columns=(
        _gid("id", "id"),
        _gid("order_id", "__parentId"),
        _gid("product_id", "product.id"),
        _gid("variant_id", "variant.id"),
        _column("sku", "text", "sku"),
        _column("title", "text", "title"),
        _column("quantity", "bigint", "quantity"),
        _column("current_quantity", "bigint", "currentQuantity"),
        _column("unit_price", "numeric", "originalUnitPriceSet.shopMoney.amount"),
        _column("amount", "numeric", "discountedTotalSet.shopMoney.amount"),
        _column("discount_amount", "numeric", "totalDiscountSet.shopMoney.amount"),
    ),
    entity="order_lines",
)

_REFUNDS = Stream(
    name="refunds",
    parent="orders",
    parent_column="order_id",
    nested="refunds",
    columns=(
        _gid("id", "id"),
        _gid("order_id", "__parentId"),
        _column("created_at", "timestamptz", "createdAt"),
        _column("amount", "numeric", "totalRefundedSet.shopMoney.amount"),
    ),
    entity="refunds",
)

_ORDERS = Stream(
    name="orders",
    columns=(
        _gid("id", "id"),
        _column("name", "text", "name"),
        _column("email", "text", "email"),
        _gid("customer_id", "customer.id"),
        _column("created_at", "timestamptz", "createdAt"),
        _column("updated_at", "timestamptz", "updatedAt"),
        _column("processed_at", "timestamptz", "processedAt"),
        _column("cancelled_at", "timestamptz", "cancelledAt"),
        _column("is_test", "boolean", "test"),
        _column("currency", "text", "currencyCode"),
        _column("financial_status", "text", "displayFinancialStatus"),
        _column("fulfillment_status", "text", "displayFulfillmentStatus"),
        _column("tags", "jsonb", "tags"),
        _column("discount_codes", "jsonb", "discountCodes"),
        _column("total_amount", "numeric", "totalPriceSet.shopMoney.amount"),
        _column("current_total_amount", "numeric", "currentTotalPriceSet.shopMoney.amount"),
        _column("refunded_amount", "numeric", "totalRefundedSet.shopMoney.amount"),
        _column("discount_amount", "numeric", "totalDiscountsSet.shopMoney.amount"),
        _column("utm_source", "text", "customerJourneySummary.lastVisit.utmParameters.source"),
        _column("utm_medium", "text", "customerJourneySummary.lastVisit.utmParameters.medium"),
        _column("utm_campaign", "text", "customerJourneySummary.lastVisit.utmParameters.campaign"),
    ),
    cursor="updated_at",
    page_size=25,
    has_bulk=True,
    # Not is_complete: an app without read_all_orders is shown 60 days, and what it is not shown
    # any more is not gone.
    is_reconciled=True,
    children=(_ORDER_LINES, _REFUNDS),
    entity="orders",
    note="needs the scope read_orders; without read_all_orders Shopify shows the last 60 days only",
    api=_api(
        "orders",
        "id name email customer{id} createdAt updatedAt processedAt cancelledAt test currencyCode"
        " displayFinancialStatus displayFulfillmentStatus tags discountCodes"
        " totalPriceSet{shopMoney{amount}} currentTotalPriceSet{shopMoney{amount}}"
        " totalRefundedSet{shopMoney{amount}} totalDiscountsSet{shopMoney{amount}}"
        " customerJourneySummary{lastVisit{utmParameters{source medium campaign}}}"
        " refunds{id createdAt totalRefundedSet{shopMoney{amount}}}",
        "UPDATED_AT",
        node="Order",
        connections={
            "lineItems": "id sku title quantity currentQuantity variant{id} product{id}"
            " originalUnitPriceSet{shopMoney{amount}} discountedTotalSet{shopMoney{amount}}"
            " totalDiscountSet{shopMoney{amount}}"
        },
    ),
)

_PRODUCTS = Stream(
    name="products",
    columns=(
        _gid("id", "id"),
        _column("title", "text", "title"),
        _column("category", "text", "productType"),
        _column("vendor", "text", "vendor"),
        _column("status", "text", "status"),
        _column("tags", "jsonb", "tags"),
        _column("handle", "text", "handle"),
        _column("sku", "text", "variants.nodes.0.sku"),
        _column("price", "numeric", "priceRangeV2.minVariantPrice.amount"),
        _column("stock", "bigint", "totalInventory"),
        _column("image_url", "text", "featuredMedia.preview.image.url"),
        _column("url", "text", "onlineStoreUrl"),
        _column("created_at", "timestamptz", "createdAt"),
        _column("updated_at", "timestamptz", "updatedAt"),
    ),
    cursor="updated_at",
    page_size=100,
    has_bulk=True,
    is_complete=True,
    is_reconciled=True,
    schedule="daily",
    entity="products",
    note="needs the scope read_products; price is the lowest of its variants, sku the first one's",
    api=_api(
        "products",
        "id title productType vendor status tags handle totalInventory onlineStoreUrl"
        " priceRangeV2{minVariantPrice{amount}} featuredMedia{preview{image{url}}}"
        " createdAt updatedAt",
        "UPDATED_AT",
        node="Product",
        connections={"variants": "id sku"},
        nested_page=1,
    ),
)

_CHECKOUTS = Stream(
    name="checkouts",
    columns=(
        _gid("id", "id"),
        _column("name", "text", "name"),
        _column("created_at", "timestamptz", "createdAt"),
        _column("updated_at", "timestamptz", "updatedAt"),
        _column("completed_at", "timestamptz", "completedAt"),
        _column("url", "text", "abandonedCheckoutUrl"),
        _gid("customer_id", "customer.id"),
        _column("amount", "numeric", "totalPriceSet.shopMoney.amount"),
        _column("currency", "text", "totalPriceSet.shopMoney.currencyCode"),
        Column(
            "lines",
            "jsonb",
            "lineItems.nodes",
            items=(
                _gid("id", "id"),
                _gid("product_id", "product.id"),
                _gid("variant_id", "variant.id"),
                _column("sku", "text", "sku"),
                _column("title", "text", "title"),
                _column("quantity", "bigint", "quantity"),
                _column("amount", "numeric", "discountedTotalPriceSet.shopMoney.amount"),
            ),
        ),
    ),
    cursor="updated_at",
    # There is no UPDATED_AT sort key (2026-10): the window is frozen and paged by creation.
    is_ascending=False,
    page_size=50,
    has_bulk=True,
    entity="carts",
    note="needs the scope read_orders; recovered checkouts are included (completed_at is set)",
    api=_api(
        "abandonedCheckouts",
        "id name createdAt updatedAt completedAt abandonedCheckoutUrl customer{id}"
        " totalPriceSet{shopMoney{amount currencyCode}}",
        "CREATED_AT",
        node="AbandonedCheckout",
        ordered=("created_at", "createdAt"),
        connections={
            "lineItems": "id title quantity sku product{id} variant{id}"
            " discountedTotalPriceSet{shopMoney{amount}}"
        },
        nested_page=15,
    ),
)

_PRODUCT_DELETIONS = Stream(
    name="product_deletions",
    columns=(
        _gid("id", "subjectId"),
        _column("deleted_at", "timestamptz", "createdAt"),
    ),
    cursor="deleted_at",
    deletes="products",
    page_size=250,
    schedule="daily",
    note="Shopify keeps events for a year",
    api=_api(
        "events",
        "id createdAt ... on BasicEvent{subjectId}",
        "CREATED_AT",
        node="BasicEvent",
        by=("created_at", "createdAt"),
        extra_filter="subject_type:PRODUCT action:destroy",
    ),
)

STREAMS: tuple[Stream, ...] = (_CUSTOMERS, _ORDERS, _PRODUCTS, _CHECKOUTS, _PRODUCT_DELETIONS)


def _schedules() -> dict[str, Schedule]:
    return {stream.name: stream.schedule for stream in STREAMS}


SCHEDULES = _schedules()
"""How often each stream is read unless include/sources says otherwise."""
