"""Everything a marketer can mistype: file, line, key and the nearest right spelling."""

from __future__ import annotations

import pytest

from marketing_ops.campaigns import definition, lint, plan
from tests.campaigns.world import World

GOOD = """campaign: spring
brand: journey
entry: {event: cart_updated, key: cart_id}
audience: {segment: everyone}
goal: {event: order_placed, within: 7d}
exit: [goal]
guards: {max_entries: 2000 per 1d, approval: {above: 5000}, priority: 80, late: 6h, fresh: 2h}
steps:
  - {id: pause, wait: 4h}
  - {id: mail, send: {via: smtp_journey, template: t_mail}}
"""


@pytest.mark.parametrize(
    ("wrong", "right", "line", "message"),
    [
        ("brnad: journey", "brand: journey", 2, "Did you mean `brand`"),
        ("brand: jorney", "brand: journey", 2, "Did you mean `journey`"),
        ("evnt: cart", "event: cart", 3, "Did you mean `event`"),
        ("cart_updatd", "cart_updated", 3, "Did you mean `cart_updated`"),
        ("segment: everyon}", "segment: everyone}", 4, "Did you mean `everyone`"),
        ("order_plced", "order_placed", 5, "Did you mean `order_placed`"),
        ("within: 7 days", "within: 7d", 5, "write 30m, 4h, 7d or 2w"),
        ("2000 a day", "2000 per 1d", 7, "write `2000 per 1d`"),
        ("wiat: 4h", "wait: 4h", 9, "Did you mean `wait`"),
        ("id: mail, wait: 4h", "id: pause, wait: 4h", 10, "used twice"),
        ("via: smtp_jorney", "via: smtp_journey", 10, "Did you mean `smtp_journey`"),
        ("template: t_mial", "template: t_mail", 10, "Did you mean `t_mail`"),
        ("goto: pause", "send: {via: smtp_journey, template: t_mail}", 10, "not available yet"),
        ("set: {a: 1}", "send: {via: smtp_journey, template: t_mail}", 10, "not available yet"),
        ("message: m1}", "template: t_mail}", 10, "is missing"),
        ("schedule: daily", "event: cart_updated", 3, "not available yet"),
        ("if: {evnt: x}, then: []", "wait: 4h", 9, "needs steps under `then` or `else`"),
        ("exit: done", "wait: 4h", 10, "can never be reached"),
        ("exit: [gaol]", "exit: [goal]", 6, "goal"),
        ("cart_updated, reentry: per_key", "cart_updated, key: cart_id", 3, "needs a `key`"),
    ],
)  # fmt: skip
def test_one_mistake_one_place(
    world: World, wrong: str, right: str, line: int, message: str
) -> None:
    """The message names the line, and what was meant or is not there yet."""
    world.template("t_mail")
    (definition.folder() / "spring.yaml").write_text(GOOD)
    assert lint.problems("spring") == []
    assert right in GOOD
    (definition.folder() / "spring.yaml").write_text(GOOD.replace(right, wrong, 1))
    found = lint.problems("spring")
    assert any(problem.line == line and message in str(problem) for problem in found), [
        str(problem) for problem in found
    ]


def test_a_wrong_rule_in_an_if(world: World) -> None:
    """The segment grammar's own words, at the step."""
    world.template("t_mail")
    step = "  - {id: who, if: {event: order_plced}, then: [{id: out, exit: x}]}\n"
    text = GOOD.replace("  - {id: mail", step + "  - {id: mail")
    (definition.folder() / "spring.yaml").write_text(text)
    (problem,) = lint.problems("spring")
    assert "Did you mean `order_placed`" in str(problem)
    assert problem.line == 10


def test_a_wrong_file_stops_itself_only(world: World) -> None:
    """The other campaigns stay usable."""
    world.template("t_mail")
    (definition.folder() / "spring.yaml").write_text(GOOD)
    (definition.folder() / "broken.yaml").write_text("campaign: [")
    (definition.folder() / "autumn.yaml").write_text(GOOD)
    found, problems = definition.load_all()
    assert list(found) == ["spring"]
    assert sorted({problem.path.stem for problem in problems}) == ["autumn", "broken"]


def test_broken_template_is_a_problem_of_the_campaign(world: World) -> None:
    """A template without a way out keeps a campaign from going live."""
    world.template("t_mail")
    (world.include / "content" / "t_mail" / "body.txt").write_text("Hello")
    (definition.folder() / "spring.yaml").write_text(GOOD)
    assert any("unsubscribe_url" in str(problem) for problem in lint.problems("spring"))


def test_plan_leads_out_of_branches() -> None:
    """The end of a branch, and an empty one, lead to the step after it."""
    campaign = definition.Campaign.model_validate(
        {
            "campaign": "x",
            "brand": "journey",
            "entry": {"event": "subscribed"},
            "steps": [
                {
                    "id": "a",
                    "if": {"entry": "amount", "gte": 1},
                    "then": [{"id": "b", "wait": "1h"}],
                },
                {
                    "id": "c",
                    "split": {"salt": "s"},
                    "arms": {
                        "x": {"weight": 1, "steps": [{"id": "d", "wait": "1h"}]},
                        "y": {"weight": 1},
                    },
                },
                {"id": "e", "wait": "1h"},
            ],
        }
    )
    nodes = {node.step: node for node in plan.compile_nodes(campaign)}
    assert nodes["a"].params["then"] == "b"
    assert nodes["a"].params["else"] == "c"
    assert nodes["b"].next_step == "c"
    assert [arm["next"] for arm in nodes["c"].params["arms"]] == ["d", "e"]
    assert nodes["d"].next_step == "e"
    assert nodes["e"].next_step is None
