"""The campaigns we ship."""

from __future__ import annotations

import pytest

from marketing_ops.campaigns import definition, filetests, lint
from marketing_ops.warehouse import Warehouse

EXAMPLES = ("cart_rescue", "welcome", "win_back")


def test_examples_have_no_problems() -> None:
    """What we ship passes our own lint."""
    assert [str(problem) for problem in lint.problems()] == []
    assert sorted(definition.load_all()[0]) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_pass_their_own_tests(db: Warehouse, name: str) -> None:
    """The stories in the files come out as the files say, played by the engine."""
    assert len(definition.load_all()[0][name].tests) >= 2
    assert [str(failure) for failure in filetests.run(db, name)] == []
