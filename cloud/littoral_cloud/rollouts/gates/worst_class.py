"""Gate "worst-class": does any one class lose too much accuracy?

Evidence: that of the gate "labelled", by the class of the label.
Error: ERROR divided by the number of classes for each, so ERROR over all of them.
"""

from __future__ import annotations

from littoral_cloud.rollouts.gates.evidence import Evidence
from littoral_cloud.rollouts.gates.shares import judge_loss
from littoral_cloud.rollouts.gates.verdict import ERROR, Gate, GateAnswer, GateVerdict, fails, needs_more, passes


def judge(evidence: Evidence, limit: float) -> GateVerdict:
    known = {label: paired for label, paired in enumerate(evidence.classes) if paired.count}
    if not known:
        return judge_loss(evidence.labelled, limit, ERROR)
    verdicts = {label: judge_loss(paired, limit, ERROR / len(known)) for label, paired in known.items()}
    for label, verdict in verdicts.items():
        if verdict.answer is GateAnswer.FAIL:
            return fails(f"class {label}: {verdict.why}")
    open_ = {label: verdict for label, verdict in verdicts.items() if verdict.answer is GateAnswer.NEEDS_MORE}
    if not open_:
        return passes(f"no class of {len(known)} loses more than {limit:.2%}")
    # Examples come by class as they have come so far.
    shares = {label: known[label].count / sum(paired.count for paired in known.values()) for label in open_}
    label = max(open_, key=lambda label: open_[label].more / shares[label])
    return needs_more(int(open_[label].more / shares[label]), open_[label].of, f"class {label}: {open_[label].why}")


GATE = Gate(
    "worst-class",
    "no class loses more than {limit} of its accuracy",
    0.10,
    "a fraction",
    judge,
    against=lambda each: each.worse - each.better,
)
