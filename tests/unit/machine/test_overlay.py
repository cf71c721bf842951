"""What may be spent while conditions hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from littoral.budget import Budget, excesses
from littoral_node.machine.overlay import in_force, overlaid, widest
from tests.unit.littoral.test_budget import budgets, candidates

B = Budget.parse
PLAIN = B("artifact<=200KB,p95<=5ms,worst>=97%,runtime=onnxruntime")


def test_what_a_condition_names_takes_the_place_of_the_plain_limit() -> None:
    assert overlaid(PLAIN, [B("artifact<=20KB")]) == B("artifact<=20KB,p95<=5ms,worst>=97%,runtime=onnxruntime")
    assert overlaid(PLAIN, [B("worst>=90%,runtime=ncnn")]) == B("artifact<=200KB,p95<=5ms,worst>=90%,runtime=ncnn")
    assert overlaid(PLAIN, []) == PLAIN


def test_of_several_that_hold_the_tightest_counts() -> None:
    low, hot = B("artifact<=20KB,worst>=90%"), B("artifact<=50KB,worst>=95%,p95<=1ms,runtime=ncnn")
    assert overlaid(PLAIN, [low, hot]) == B("artifact<=20KB,p95<=1ms,worst>=95%,runtime=ncnn")
    assert overlaid(PLAIN, [B("runtime=ncnn,runtime=coreml"), B("runtime=coreml")]).runtimes == ("coreml",)
    assert overlaid(PLAIN, [B("runtime=ncnn"), B("runtime=coreml")]).runtimes == ("ncnn",)


def test_each_model_keeps_its_own_plain_budget() -> None:
    plain = {"": PLAIN, "digits": B("p95<=9ms")}
    overlays = {"battery_low": B("p95<=1ms"), "hot": B("p95<=2ms")}
    assert in_force(plain, overlays, ["hot"]) == {"": overlaid(PLAIN, [B("p95<=2ms")]), "digits": B("p95<=2ms")}
    assert in_force(plain, overlays, ["on_battery"]) == plain


@given(budgets, st.lists(budgets, max_size=3), candidates, st.data())
def test_what_fits_whatever_holds_is_inside_the_widest(
    plain: Budget, overlays: list[Budget], candidate: object, data: st.DataObject
) -> None:
    some = [overlay for overlay in overlays if data.draw(st.booleans())]
    if not excesses(candidate, overlaid(plain, some)):  # type: ignore[arg-type]
        assert excesses(candidate, widest(plain, overlays)) == ()  # type: ignore[arg-type]


@given(budgets)
def test_without_conditions_the_widest_is_the_plain_one(plain: Budget) -> None:
    assert widest(plain, []) == plain
