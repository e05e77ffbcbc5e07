from __future__ import annotations

from runnel.analysis.pruning import prune
from runnel.plan.relations import Aggregate, Join, Project, Relation, StreamingScan
from runnel.plan.traverse import walk_relations

from .builders import call, column, lit, named, resolve, stream


def scanned(plan: Relation) -> list[list[str]]:
    pruned = prune(resolve(plan))
    return [[a.name for a in node.attributes] for node in walk_relations(pruned) if isinstance(node, StreamingScan)]


def test_a_scan_keeps_what_is_used_in_its_order() -> None:
    window = call("window", "t", lit("10 minutes"), lit("5 minutes"))
    plan = Aggregate(child=stream(), groupings=(window, column("s")), aggregates=(named(call("sum", "a"), "n"),))
    assert scanned(plan) == [["a", "s", "t"]]


def test_each_side_of_a_join_keeps_its_own() -> None:
    join = Join(left=stream(1), right=stream(2), kind="inner", condition=call("==", column("a", 1), column("i", 2)))
    assert scanned(Project(child=join, expressions=(column("s", 2),))) == [["a"], ["i", "s"]]


def test_counting_rows_keeps_one_column() -> None:
    assert scanned(Aggregate(child=stream(), groupings=(), aggregates=(call("count", 1),))) == [["a"]]


def test_the_output_stays() -> None:
    plan = resolve(Project(child=stream(), expressions=(column("s"), column("a"))))
    assert [a.expr_id for a in prune(plan).output] == [a.expr_id for a in plan.output]
