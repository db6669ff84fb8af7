"""Rolling up only what was marked dirty equals computing everything anew."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketing_ops.kpis.runner import dirty_days, rollup
from marketing_ops.warehouse import Warehouse
from tests.kpis.facts import Facts

FIRST = date(2026, 2, 23)
DAYS = [FIRST + timedelta(days=number) for number in range(21)]  # the 8th of March has 23 hours
START = datetime(2026, 2, 23, 5, tzinfo=UTC)

moments = st.integers(0, 20 * 24 * 4).map(lambda quarter: START + timedelta(minutes=15 * quarter))
few = st.integers(1, 4)
people = st.one_of(st.none(), few)
mails = st.sampled_from(
    ["email_sent", "email_opened", "email_clicked", "unsubscribed", "subscribed"]
)
flags = st.booleans()

changes = st.one_of(
    st.tuples(
        st.just("order"),
        few,
        moments,
        people,
        st.fixed_dictionaries(
            {
                "amount": st.integers(0, 9),
                "currency": st.sampled_from(["USD", "USD", "EUR"]),
                "is_test": st.sampled_from([False, False, True]),
                "is_deleted": st.sampled_from([False, False, True]),
                "cancelled_at": st.sampled_from([None, None, START]),
                "utm_campaign": st.sampled_from([None, "rescue"]),
            }
        ),
    ),
    st.tuples(st.just("refund"), few, few, moments, st.integers(1, 30)),
    st.tuples(st.just("cart"), few, moments, st.one_of(st.none(), moments)),
    st.tuples(st.just("event"), mails, few, moments, few, flags),
    st.tuples(st.just("unevent"), mails, few, flags),
    st.tuples(
        st.just("conversion"),
        few,
        st.one_of(st.none(), moments),
        st.sampled_from(["finished", "finished", "holdout"]),
    ),
    st.tuples(
        st.just("rate"),
        st.integers(0, 20).map(lambda number: str(FIRST + timedelta(days=number))),
        st.integers(1, 5),
    ),
    st.tuples(st.just("contact"), few, moments),
    st.tuples(st.just("home"), few, moments, st.sampled_from(["OH", "TX", None])),
    st.tuples(st.just("merge"), few, few),
)


def apply(facts: Facts, change: tuple[Any, ...]) -> None:
    """Write one late, new, corrected or deleted fact."""
    kind, *given_ = change
    if kind == "order":
        number, moment, contact, more = given_
        facts.order(number, moment, contact, **more)
    elif kind == "event":
        name, number, moment, contact, is_machine = given_
        facts.event(name, number, moment, contact, is_machine=is_machine)
    elif kind == "unevent":
        name, number, is_machine = given_
        facts.unevent(name, number, is_machine=is_machine)
    elif kind == "rate":
        facts.rate("EUR", *given_)
    elif kind == "merge":
        if given_[0] != given_[1]:
            facts.merge(*given_)
    else:
        getattr(facts, kind)(*given_)


def stored(db: Warehouse) -> list[tuple[Any, ...]]:
    """Every number there is."""
    return db.execute(
        "select kpi, grain, date, dimension_set, dims::text, numerator, denominator, value,"
        " currency, is_additive from mkt_marts.kpi_daily"
        " order by kpi, grain, date, dimension_set, dims"
    ).fetchall()


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.lists(changes, min_size=1, max_size=6), min_size=1, max_size=4))
def test_incremental_equals_full(
    db: Warehouse, facts: Facts, rounds: list[list[tuple[Any, ...]]]
) -> None:
    """Whatever arrives late, is corrected, deleted, merged or moved: recomputing the dirty days
    after each round gives the numbers of one full recompute, and cleans every day.
    """
    db.execute(
        "truncate mkt_core.orders, mkt_core.refunds, mkt_core.carts, mkt_core.events,"
        " mkt_core.contacts, mkt_core.contact_history, mkt_core.contact_merges,"
        " mkt_core.exchange_rates, mkt_engage.enrolments, mkt_marts.kpi_daily,"
        " mkt_marts.kpi_periods, mkt_marts.first_orders, mkt_ops.kpi_marks, mkt_ops.kpi_state,"
        " mkt_ops.dirty_days"
    )
    rollup(db, DAYS)
    for round_ in rounds:
        for change in round_:
            apply(facts, change)
        rollup(db, dirty_days(db))
        assert dirty_days(db) == []
    incremental = stored(db)
    db.execute("truncate mkt_marts.kpi_daily, mkt_marts.kpi_periods, mkt_marts.first_orders")
    rollup(db, DAYS)
    assert stored(db) == incremental
