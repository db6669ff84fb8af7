"""docs/kpis.md, written from the KPI files.

`python -m marketing_ops.kpis.catalogue > docs/kpis.md` after a change of one.
"""

from __future__ import annotations

from marketing_ops.kpis import definition

_HEAD = """# KPIs

Written by `python -m marketing_ops.kpis.catalogue` from include/kpis; a test holds it to that.

The numbers are in `mkt_marts.kpi_daily`: one row per KPI, grain (day, ISO week from Monday, month),
period and combination of dimension values. Days are days of `reporting_timezone`, money is in
`reporting_currency`.

- `value` is `numerator / denominator`; for a count or sum it is the numerator. **Null is undefined,
  0 is a measured zero.** To sum over days or dimension values add numerators and denominators,
  never values, and only where the KPI is additive. People and opened messages are counted once per
  period, so weeks and months have rows of their own.
- `dims` is `{}` for the total, else `{"campaign": ...}`, `{"channel": ...}` or
  `{"country": ..., "region": ...}`; an unknown value is null. Every period has its total, a
  dimension value has a row from its first fact on.
- Facts that arrive late, are corrected, deleted or merged restate the days they belong to. A number
  of a closed period that changed leaves a row in `mkt_marts.kpi_revisions` with its cause: `late
  data`, `definition` (the SQL, the stored dimensions, the time zone or the currency changed) or
  `backfill` (a recompute nobody's data had asked for). First numbers revise nothing.

| KPI | formula | unit | better | by | adds up | group |
|---|---|---|---|---|---|---|
"""

_TAIL = """
## Add a KPI

Write include/kpis/<name>.yaml and include/sql/marts/kpi_<something>.sql. The SQL is one `select` of
(kpi, grain, date, dimension_set, dims, numerator, denominator, currency); one file may return many
KPIs of one scan, as the shipped ones do, one per group (a scan each would be several times dearer).
It reads facts with `at >= %(from_at)s and at < %(to_at)s`, finds their day by
`%(first_day)s::date + width_bucket(at, %(day_starts)s::timestamptz[]) - 1` (right on days of 23 and
25 hours), and joins the temporary table `kpi_calendar(date, grain, period, period_at)`, which lists
each day of each wanted period. `%(currency)s` is the reporting currency. Left-join from the
calendar, so that a day without facts is a measured zero. `marketing-ops lint` checks the files.

`kpi_group` says which marks in `mkt_ops.dirty_days` belong to it: orders, carts, email, consents or
contacts. Conversions, exchange rates, merges and moves of contacts are found by the roll-up itself.
"""

_BETTER = {"up": "more", "down": "less", "neutral": "-"}


def document() -> str:
    """The whole of docs/kpis.md."""
    kpis = sorted(definition.load_all()[0].values(), key=lambda kpi: (_order(kpi), kpi.kpi))
    rows = [
        f"| [{kpi.kpi}](#{kpi.kpi}) | {kpi.formula} | {kpi.unit} | {_BETTER[kpi.direction]} |"
        f" {', '.join(kpi.dimension_sets)} | {'yes' if kpi.is_additive else 'no'} |"
        f" {kpi.kpi_group} |"
        for kpi in kpis
    ]
    return _HEAD + "\n".join(rows) + "\n" + "".join(_section(kpi) for kpi in kpis) + _TAIL


def _order(kpi: definition.Kpi) -> int:
    return ["orders", "carts", "email", "consents", "contacts"].index(kpi.kpi_group)


def _section(kpi: definition.Kpi) -> str:
    questions = " ".join(kpi.questions)
    decisions = "\n".join(f"- {decision}." for decision in kpi.decisions)
    return (
        f"\n## {kpi.kpi}\n\n**{kpi.name}.** {kpi.description}: {kpi.formula}."
        f" Answers: {questions}\n\n{decisions}\n"
    )


if __name__ == "__main__":
    print(document(), end="")
