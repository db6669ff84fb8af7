"""However a shop's history is cut into syncs, unify ends with the same people and facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from marketing_ops.warehouse import Warehouse
from tests.identity.story import Shop, forget, hours, natural

Write = Callable[[Shop], None]

PHONES = [None, "+381641234567", "+12025550123"]
EMAILS = [None, "a@example.com", "b@example.com", "C@Example.com "]
GUESTS = ["a@example.com", "c@example.com", "guest@example.com"]
STATES = ["SUBSCRIBED", "UNSUBSCRIBED", "PENDING", "NOT_SUBSCRIBED"]

people = st.fixed_dictionaries(
    {
        "email": st.sampled_from(EMAILS),
        "phone": st.sampled_from(PHONES),
        "email_marketing_state": st.sampled_from(STATES),
        "email_consent_updated_at": st.integers(0, 3).map(hours),
        "created_at": st.integers(0, 5).map(hours),
    }
)
corrections = st.fixed_dictionaries(
    {"total_amount": st.integers(0, 3)},
    optional={
        "cancelled_at": st.sampled_from([None, hours(80)]),
        "is_test": st.booleans(),
        "is_deleted": st.booleans(),
    },
)


@st.composite
def histories(draw: st.DrawFn) -> list[Write]:
    """Raw writes in any order: a row may come again corrected, a child before its parent."""
    writes: list[Write] = []

    def add(method: str, *args: Any, **fields: Any) -> None:
        writes.append(lambda shop: getattr(shop, method)(*args, **fields))

    for number in range(1, draw(st.integers(0, 7)) + 1):
        # Keys and consent are constant: what a sync never saw, unify cannot know.
        person = draw(people)
        for version in range(draw(st.integers(1, 2))):
            at = hours(6 + version)
            add("customer", number, **person, first_name=f"V{version}", updated_at=at)
    for number in range(1, draw(st.integers(0, 5)) + 1):
        customer = draw(st.none() | st.integers(1, 8))
        email = draw(st.sampled_from(GUESTS)) if customer is None else None
        for _ in range(draw(st.integers(1, 2))):
            add("order", number, customer, email=email, **draw(corrections))
    for number in range(1, draw(st.integers(0, 4)) + 1):
        add("line", number, draw(st.integers(1, 6)), draw(st.integers(1, 3)))
        add("refund", number + 20, draw(st.integers(1, 6)))
    if draw(st.booleans()):
        add("product", 1)
    for number in range(1, draw(st.integers(0, 2)) + 1):
        add("cart", number + 40, draw(st.none() | st.integers(1, 8)))
    return draw(st.permutations(writes))


@pytest.mark.slow
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes on a real database
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories(), cuts=st.sets(st.integers(0, 30), max_size=5))
def test_any_cut_of_a_history_gives_the_same_warehouse(
    shop: Shop, db: Warehouse, history: list[Write], cuts: set[int]
) -> None:
    """One unify at the end, or one after any of the writes: the same contacts, facts and events."""
    results = []
    for is_cut in (False, True):
        forget(db)
        # A customer's or order's last version counts, so both runs see the versions in one order.
        for position, write in enumerate(history):
            write(shop)
            if is_cut and position in cuts:
                shop.unify()
        shop.unify()
        results.append(natural(db))
    whole, parts = results
    for name in whole:
        assert parts[name] == whole[name], name
    assert whole["merges"] == []
