"""Where each field of the schema comes from: one table, used by both ways of executing a query.

A field that is not in the table is read from a mapping by its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sandbox.hashing import number
from sandbox.shopify import paging, records
from sandbox.shopify.paging import Page
from sandbox.shopify.records import Checkout, Customer, Level, Line, Order, Product, Stock, Variant
from sandbox.shopify.search import Condition
from sandbox.shopify.world import Run
from sandbox.zones import iso

CONNECTIONS = (
    "OrderConnection",
    "CustomerConnection",
    "ProductConnection",
    "AbandonedCheckoutConnection",
    "EventConnection",
    "LocationConnection",
    "InventoryItemConnection",
    "InventoryLevelConnection",
    "LineItemConnection",
    "AbandonedCheckoutLineItemConnection",
    "ProductVariantConnection",
    "BulkOperationConnection",
    "WebhookSubscriptionConnection",
    "DiscountRedeemCodeConnection",
)
Resolver = Callable[..., Any]
PLAIN: dict[tuple[str, str], Callable[[Any], Any]] = {}
"""Fields that need the object alone."""
ASKED: dict[tuple[str, str], Resolver] = {}
"""Fields that need the request or arguments: called with (object, run, **arguments)."""
SAME: set[tuple[str, str]] = set()
"""Fields that hand on the object itself and are never null."""
TEXT: dict[tuple[str, str], Callable[[Any], str]] = {}
"""The JSON text of some fields of PLAIN which are never null, made at once: for bulk results."""
SHARED: dict[tuple[str, str], Callable[[Any], tuple[Run, Any]]] = {}
"""Fields that are the same within a request for all objects with this same key."""


def gid(kind: str, key: int | str) -> str:
    """A global id."""
    return f"gid://shopify/{kind}/{key}"


@lru_cache(100_000)
def money(cents: float) -> str:
    """An amount as Shopify writes it: `10.0`, `12.5`, `29.99`."""
    return str(round(cents / 100, 2))


def plain(kind: str, **resolvers: Callable[[Any], Any]) -> None:
    """Register fields that need the object alone."""
    for name, resolver in resolvers.items():
        PLAIN[kind, name] = resolver


def asked(kind: str, name: str) -> Callable[[Resolver], Resolver]:
    """Register a field that needs the request or arguments."""

    def register(resolver: Resolver) -> Resolver:
        ASKED[kind, name] = resolver
        return resolver

    return register


# -- money: everything is in the shop's currency, so a bag is the number of cents -----------------


@lru_cache(100_000)
def _amount(cents: float) -> str:
    return f'"{money(cents)}"'


SAME |= {("MoneyBag", "shopMoney"), ("MoneyBag", "presentmentMoney")}
plain("MoneyV2", amount=money)
TEXT["MoneyV2", "amount"] = _amount


@asked("MoneyV2", "currencyCode")
def _currency(_cents: int, run: Run) -> str:
    return run.world.currency


# -- connections ----------------------------------------------------------------------------------


def _edges(found: Page) -> list[dict[str, Any]]:
    return [{"node": item, "cursor": found.cursor(index)} for index, item in enumerate(found.items)]


for _connection in CONNECTIONS:
    plain(_connection, nodes=lambda found: found.items, edges=_edges)
    SAME.add((_connection, "pageInfo"))
plain(
    "PageInfo",
    hasNextPage=lambda found: found.has_next,
    hasPreviousPage=lambda found: found.has_previous,
    startCursor=lambda found: found.cursor(0),
    endCursor=lambda found: found.cursor(-1),
)

# -- customers ------------------------------------------------------------------------------------

plain(
    "Customer",
    id=lambda one: gid("Customer", one.key),
    legacyResourceId=lambda one: str(one.key),
    firstName=lambda one: one.document.get("first_name"),
    lastName=lambda one: one.document.get("last_name"),
    displayName=lambda one: f"{one.document['first_name']} {one.document['last_name']}",
    email=lambda one: one.document.get("email"),
    phone=lambda one: one.document.get("phone"),
    tags=lambda one: one.document["tags"],
    locale=lambda one: one.document.get("locale") or "en",
    note=lambda one: one.document.get("note"),
    state=lambda one: "ENABLED",
    verifiedEmail=lambda one: True,
    numberOfOrders=lambda one: str(one.row[2]),
    amountSpent=lambda one: one.row[3],
    createdAt=lambda one: iso(one.run.world.created_at(one.key)),
    updatedAt=lambda one: iso(one.row[1]),
    defaultEmailAddress=lambda one: one if one.document.get("email") else None,
    emailMarketingConsent=lambda one: one if one.document.get("email") else None,
    defaultPhoneNumber=lambda one: one if one.document.get("phone") else None,
    defaultAddress=lambda one: one.document if one.document.get("city") else None,
)
plain(
    "CustomerEmailAddress",
    emailAddress=lambda one: one.document["email"],
    marketingState=lambda one: one.row[4],
    marketingOptInLevel=lambda one: "SINGLE_OPT_IN",
    marketingUpdatedAt=lambda one: iso(one.row[5]) if one.row[5] else None,
    validFormat=lambda one: "@" in one.document["email"],
)
plain(
    "CustomerEmailMarketingConsentState",
    marketingState=lambda one: one.row[4],
    marketingOptInLevel=lambda one: "SINGLE_OPT_IN",
    consentUpdatedAt=lambda one: iso(one.row[5]) if one.row[5] else None,
)
plain(
    "CustomerPhoneNumber",
    phoneNumber=lambda one: one.document["phone"],
    marketingState=lambda one: "NOT_SUBSCRIBED",
    marketingUpdatedAt=lambda one: None,
)
plain(
    "MailingAddress",
    id=lambda one: gid("MailingAddress", f"{number(json.dumps(one, sort_keys=True))}"),
    address1=lambda one: one.get("address1"),
    address2=lambda one: None,
    company=lambda one: None,
    city=lambda one: one.get("city"),
    province=lambda one: one.get("province"),
    provinceCode=lambda one: one.get("province_code"),
    zip=lambda one: one.get("zip"),
    country=lambda one: "United States" if one.get("country_code") == "US" else None,
    countryCode=lambda one: one.get("country_code"),
    countryCodeV2=lambda one: one.get("country_code"),
    firstName=lambda one: one.get("first_name"),
    lastName=lambda one: one.get("last_name"),
    name=lambda one: f"{one.get('first_name')} {one.get('last_name')}",
    phone=lambda one: one.get("phone"),
    timeZone=lambda one: one.get("time_zone"),
)


@asked("MailingAddress", "formatted")
def _formatted(one: dict[str, Any], _run: Run, **_options: Any) -> list[str]:
    return [str(one.get("address1")), f"{one.get('city')} {one.get('zip')}"]


@asked("Customer", "orders")
def _customer_orders(one: Customer, run: Run, **arguments: Any) -> Page:
    only = Condition("o.person = ? and o.is_registered = 1", [one.key])
    return paging.page(run, paging.ORDERS, only=only, **arguments)


# -- orders ---------------------------------------------------------------------------------------


def _financial_status(one: Order) -> str:
    refunded, net = one.row[2], one.row[12]
    if refunded:
        return "REFUNDED" if refunded >= net else "PARTIALLY_REFUNDED"
    return "PAID"


def _customer_of(one: Order) -> Customer | None:
    return Customer(one.run, one.row[7]) if one.row[8] else None


plain(
    "Order",
    id=lambda one: gid("Order", one.key),
    legacyResourceId=lambda one: str(one.key),
    name=lambda one: one.row[10],
    number=lambda one: one.row[9],
    email=lambda one: one.patch.get("email") or one.buyer.get("email"),
    phone=lambda one: None,
    note=lambda one: None,
    createdAt=lambda one: iso(one.row[6]),
    processedAt=lambda one: iso(one.row[6]),
    updatedAt=lambda one: iso(one.row[1]),
    closedAt=lambda one: None,
    closed=lambda one: False,
    confirmed=lambda one: True,
    cancelledAt=lambda one: iso(one.row[3]) if one.row[3] else None,
    cancelReason=lambda one: "CUSTOMER" if one.row[3] else None,
    test=lambda one: bool(one.patch.get("test")),
    customer=_customer_of,
    customerLocale=lambda one: one.buyer.get("locale") or "en",
    customerJourneySummary=lambda one: one,
    discountCodes=lambda one: json.loads(one.row[13]) if one.row[13] else [],
    discountCode=lambda one: json.loads(one.row[13])[0] if one.row[13] else None,
    tags=lambda one: one.patch.get("tags") or ([one.row[15]] if one.row[15] else []),
    displayFinancialStatus=_financial_status,
    displayFulfillmentStatus=lambda one: "FULFILLED",
    fullyPaid=lambda one: True,
    unpaid=lambda one: False,
    sourceName=lambda one: "pos",
    shippingAddress=lambda one: one.buyer if one.buyer.get("city") else None,
    billingAddress=lambda one: one.buyer if one.buyer.get("city") else None,
    totalPrice=lambda one: money(one.row[12]),
    totalPriceSet=lambda one: one.row[12],
    subtotalPriceSet=lambda one: one.row[12],
    totalReceivedSet=lambda one: one.row[12],
    currentTotalPriceSet=lambda one: one.row[12] - one.row[2],
    currentSubtotalPriceSet=lambda one: one.row[12] - one.row[2],
    totalRefundedSet=lambda one: one.row[2],
    totalDiscountsSet=lambda one: one.row[11] - one.row[12],
    totalShippingPriceSet=lambda one: 0,
    totalTaxSet=lambda one: 0,
)


@asked("Order", "currencyCode")
@asked("Order", "presentmentCurrencyCode")
def _order_currency(_one: Order, run: Run) -> str:
    return run.world.currency


@asked("Order", "lineItems")
def _line_items(
    one: Order, _run: Run, first: int | None = None, after: str | None = None, **_options: Any
) -> Page:
    return paging.cut(list(one.lines()), first, after)


@asked("Order", "refunds")
def _refunds(one: Order, _run: Run, first: int | None = None) -> list[dict[str, Any]]:
    found = [
        {"order": one, "key": key, "at": at, "cents": cents} for key, at, cents, _ in one.refunds
    ]
    return found[:first]


@asked("Order", "fulfillments")
def _fulfillments(one: Order, _run: Run, **_options: Any) -> list[Order]:
    return [one]


plain(
    "Refund",
    id=lambda one: gid("Refund", one["key"]),
    legacyResourceId=lambda one: str(one["key"]),
    createdAt=lambda one: iso(one["at"]),
    processedAt=lambda one: iso(one["at"]),
    updatedAt=lambda one: iso(one["at"]),
    note=lambda one: "derived",
    totalRefundedSet=lambda one: one["cents"],
)
plain(
    "Fulfillment",
    id=lambda one: gid("Fulfillment", one.key),
    legacyResourceId=lambda one: str(one.key),
    name=lambda one: f"{one.row[10]}.1",
    status=lambda one: "CANCELLED" if one.row[3] else "SUCCESS",
    displayStatus=lambda one: "CANCELED" if one.row[3] else "FULFILLED",
    createdAt=lambda one: iso(one.row[6]),
    updatedAt=lambda one: iso(one.row[6]),
    totalQuantity=lambda one: sum(line.quantity for line in one.lines()),
)
plain(
    "CustomerJourneySummary",
    ready=lambda one: True,
    customerOrderIndex=lambda one: None,
    daysToConversion=lambda one: None,
    firstVisit=lambda one: one if one.row[14] else None,
    lastVisit=lambda one: one if one.row[14] else None,
)
plain(
    "CustomerVisit",
    id=lambda one: gid("CustomerVisit", one.key),
    occurredAt=lambda one: iso(one.row[6] - 600),
    source=lambda one: json.loads(one.row[14])["source"],
    sourceType=lambda one: None,
    referrerUrl=lambda one: None,
    landingPage=lambda one: None,
    utmParameters=lambda one: {"term": None, "content": None, **json.loads(one.row[14])},
)

# -- lines of orders and checkouts ----------------------------------------------------------------


def _product_of(line: Line) -> int | None:
    """A line's product, None once it is deleted or when it never was one."""
    run = line.parent.run
    is_gone = not line.product or run.world.is_deleted(line.product, run.now)
    return None if is_gone else line.product


def _variant(line: Line) -> Variant | None:
    product = _product_of(line)
    return Variant(line.parent.run, product) if product else None


def _product(line: Line) -> Product | None:
    product = _product_of(line)
    return Product(line.parent.run, product) if product else None


def _discounts(line: Line) -> list[dict[str, Any]]:
    saved = line.gross - line.net
    return [{"allocatedAmountSet": saved}] if saved else []


def _text(line: Line, name: str) -> str | None:
    value = line.parent.run.world.item(line.product).get(name)
    return None if value is None else str(value)


plain(
    "LineItem",
    id=lambda line: f"gid://shopify/LineItem/{line.parent.key * 1000 + line.position}",
    title=lambda line: _text(line, "title"),
    name=lambda line: _text(line, "title"),
    sku=lambda line: _text(line, "sku"),
    vendor=lambda line: _text(line, "vendor"),
    variantTitle=lambda line: None,
    variant=_variant,
    product=_product,
    quantity=lambda line: line.quantity,
    currentQuantity=lambda line: 0 if line.is_returned else line.quantity,
    refundableQuantity=lambda line: 0 if line.is_returned else line.quantity,
    originalUnitPriceSet=lambda line: line[4] / line[3],
    discountedUnitPriceSet=lambda line: line[5] / line[3],
    originalTotalSet=itemgetter(4),
    discountedTotalSet=itemgetter(5),
    totalDiscountSet=lambda line: line[4] - line[5],
    discountAllocations=_discounts,
)
plain(
    "AbandonedCheckoutLineItem",
    id=lambda line: gid("AbandonedCheckoutLineItem", line.parent.key * 1000 + line.position),
    title=lambda line: _text(line, "title"),
    sku=lambda line: _text(line, "sku"),
    variantTitle=lambda line: None,
    variant=_variant,
    product=_product,
    quantity=lambda line: line.quantity,
    originalUnitPriceSet=lambda line: line.gross / line.quantity,
    discountedUnitPriceSet=lambda line: line.net / line.quantity,
    originalTotalPriceSet=lambda line: line.gross,
    discountedTotalPriceSet=lambda line: line.net,
)


TEXT["LineItem", "id"] = lambda line: f'"gid://shopify/LineItem/{line[0].key * 1000 + line[1]}"'
TEXT["LineItem", "quantity"] = lambda line: str(line[3])
TEXT["LineItem", "currentQuantity"] = lambda line: "0" if line[6] else str(line[3])


def _same_line(line: Line) -> tuple[Run, Any]:
    return line[0].run, line[2:]


# What a line says depends on product, quantity and amounts alone, and four lines in five say what
# another one has said.
for _kind in ("LineItem", "AbandonedCheckoutLineItem"):
    for _owner, _field in list(PLAIN):
        if _owner == _kind and _field != "id":
            SHARED[_kind, _field] = _same_line

# -- checkouts ------------------------------------------------------------------------------------


def _checkout_total(one: Checkout) -> int:
    return sum(line.net for line in one.lines)


plain(
    "AbandonedCheckout",
    id=lambda one: gid("AbandonedCheckout", one.key),
    name=lambda one: f"#C{one.row[7]}",
    createdAt=lambda one: iso(one.row[5]),
    updatedAt=lambda one: iso(one.row[1]),
    completedAt=lambda one: iso(one.row[2]) if one.row[2] else None,
    abandonedCheckoutUrl=lambda one: f"{one.run.world.base_url()}/cart/{one.key}/recover",
    customer=lambda one: Customer(one.run, one.row[6]),
    note=lambda one: "derived",
    customAttributes=lambda one: [{"key": "label", "value": "derived"}],
    discountCodes=lambda one: [],
    taxesIncluded=lambda one: True,
    lineItemsQuantity=lambda one: sum(line.quantity for line in one.lines),
    totalPriceSet=_checkout_total,
    subtotalPriceSet=_checkout_total,
    totalLineItemsPriceSet=lambda one: sum(line.gross for line in one.lines),
    totalDiscountSet=lambda one: sum(line.gross - line.net for line in one.lines),
)


@asked("AbandonedCheckout", "lineItems")
def _checkout_lines(
    one: Checkout, _run: Run, first: int | None = None, after: str | None = None, **_options: Any
) -> Page:
    return paging.cut(one.lines, first, after)


# -- products, variants, stock --------------------------------------------------------------------


def _handle(one: Product) -> str:
    words = "".join(c if c.isalnum() else " " for c in one.document["title"].lower()).split()
    return "-".join([*words, str(one.key)])


plain(
    "Product",
    id=lambda one: gid("Product", one.key),
    legacyResourceId=lambda one: str(one.key),
    title=lambda one: one.document["title"],
    description=lambda one: one.document["title"],
    productType=lambda one: one.document.get("category") or "",
    vendor=lambda one: one.document.get("vendor") or "",
    tags=lambda one: one.document.get("tags") or [],
    handle=_handle,
    status=lambda one: one.document.get("status") or "ACTIVE",
    createdAt=lambda one: iso(one.row[5]),
    publishedAt=lambda one: iso(one.row[5]),
    updatedAt=lambda one: iso(one.row[1]),
    totalInventory=lambda one: one.row[3],
    tracksInventory=lambda one: True,
    hasOnlyDefaultVariant=lambda one: True,
    isGiftCard=lambda one: False,
    onlineStoreUrl=lambda one: f"{one.run.world.base_url()}/products/{_handle(one)}",
    featuredMedia=lambda one: one,
    featuredImage=lambda one: one,
    priceRangeV2=lambda one: {"minVariantPrice": one.row[2], "maxVariantPrice": one.row[2]},
    variantsCount=lambda one: {"count": 1, "precision": "EXACT"},
)


@asked("Product", "variants")
def _variants(
    one: Product, run: Run, first: int | None = None, after: str | None = None, **_options: Any
) -> Page:
    return paging.cut([Variant(run, one.key, one.row)], first, after)


plain(
    "MediaImage",
    id=lambda one: gid("MediaImage", one.key),
    alt=lambda one: one.document["title"],
    mediaContentType=lambda one: "IMAGE",
    status=lambda one: "READY",
    preview=lambda one: {"image": one, "status": "READY"},
    image=lambda one: one,
)
plain(
    "Image",
    id=lambda one: gid("ProductImage", one.key),
    altText=lambda one: one.document["title"],
    url=lambda one: f"{one.run.world.base_url()}/images/{one.key}.svg",
    width=lambda one: 320,
    height=lambda one: 320,
)
plain(
    "ProductVariant",
    id=lambda one: gid("ProductVariant", one.key),
    legacyResourceId=lambda one: str(one.key),
    title=lambda one: "Default Title",
    displayName=lambda one: f"{one.document['title']} - Default Title",
    sku=lambda one: one.document.get("sku"),
    barcode=lambda one: None,
    price=lambda one: money(one.row[2]),
    compareAtPrice=lambda one: None,
    position=lambda one: 1,
    taxable=lambda one: True,
    availableForSale=lambda one: one.row[3] > 0,
    inventoryQuantity=lambda one: one.row[3],
    createdAt=lambda one: iso(one.row[5]),
    updatedAt=lambda one: iso(one.row[1]),
    product=lambda one: Product(one.run, one.key),
    inventoryItem=lambda one: Stock(one.run, one.key),
)
plain(
    "InventoryItem",
    id=lambda one: gid("InventoryItem", one.key),
    legacyResourceId=lambda one: str(one.key),
    sku=lambda one: one.document.get("sku"),
    tracked=lambda one: True,
    requiresShipping=lambda one: False,
    unitCost=lambda one: None,
    createdAt=lambda one: iso(one.row[5]),
    updatedAt=lambda one: iso(one.row[1]),
    variant=lambda one: Variant(one.run, one.key),
)


@asked("InventoryItem", "inventoryLevels")
def _item_levels(
    one: Stock, run: Run, first: int | None = None, after: str | None = None, **_options: Any
) -> Page:
    return paging.cut([Level(run, one.key, one.row)], first, after)


LOCATION = 1
plain(
    "InventoryLevel",
    id=lambda one: gid("InventoryLevel", f"{LOCATION}?inventory_item_id={one.key}"),
    isActive=lambda one: True,
    createdAt=lambda one: iso(one.row[5]),
    updatedAt=lambda one: iso(one.row[1]),
    item=lambda one: Stock(one.run, one.key),
    location=lambda one: LOCATION,
)


@asked("InventoryLevel", "quantities")
def _quantities(one: Level, _run: Run, names: list[str]) -> list[dict[str, Any]]:
    known = {"available": one.row[3], "on_hand": one.row[3], "committed": 0, "incoming": 0}
    return [
        {
            "id": gid("InventoryQuantity", f"{one.key}-{name}"),
            "name": name,
            "quantity": known.get(name, 0),
            "updatedAt": iso(one.row[1]),
        }
        for name in names
    ]


plain(
    "Location",
    id=lambda key: gid("Location", key),
    legacyResourceId=str,
    name=lambda key: "Market Street",
    isActive=lambda key: True,
    fulfillsOnlineOrders=lambda key: True,
    shipsInventory=lambda key: True,
    createdAt=lambda key: iso(1_400_000_000),
    updatedAt=lambda key: iso(1_400_000_000),
)


@asked("Location", "inventoryLevels")
def _location_levels(_key: int, run: Run, **arguments: Any) -> Page:
    arguments.pop("sortKey", None)
    return paging.page(run, paging.LEVELS, **arguments)


KINDS = records.KINDS
