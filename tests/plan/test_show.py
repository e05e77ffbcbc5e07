from __future__ import annotations

import re

from pyspark.sql.types import IntegerType

from runnel.plan.expressions import Literal, UnresolvedAttribute, UnresolvedFunction
from runnel.plan.relations import Filter, Join, Project, Range
from runnel.plan.show import explain_text


def test_a_plan_is_a_tree_of_lines() -> None:
    numbers = Range(start=0, end=3, step=1)
    condition = UnresolvedFunction(">", (UnresolvedAttribute(("id",)), Literal(1, IntegerType())))
    plan = Project(
        child=Join(left=Filter(child=numbers, condition=condition), right=numbers, kind="inner"),
        expressions=(UnresolvedAttribute(("a", "id")),),
    )
    lines = explain_text(plan).splitlines()
    assert lines[0] == "Project ['a.id]"
    assert lines[1] == "+- Join inner"
    assert lines[2] == "   :- Filter >('id, 1)"
    assert re.fullmatch(r"   :  \+- Range .*", lines[3])
    assert re.fullmatch(r"   \+- Range .*", lines[4])
