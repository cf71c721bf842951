"""What is to be made of a model from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from littoral.errors import BadInput
from littoral.manifest import TASKS
from littoral_cloud.foreign.evaluation import MOST_LOST
from littoral_cloud.foreign.opened import USUAL_LIMITS, ForeignLimits
from littoral_cloud.foreign.samples import AS_IT_IS, ByteScaling


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What is to be made of a file.

    `metric` empty: the task's own, accuracy or rmse; detection and custom need one where there is data. `output`: the one that is
    judged, and whose largest value is the class; empty: the first. `sizes`: of inputs, to try the model with where there are no
    data. `int8_loss`: the share of its worth that an int8 may lose. `anyway`: also where most examples have no answer.
    """

    model: str
    name: str = ""
    task: str = TASKS[0]
    metric: str = ""
    lower_is_better: bool = False
    labels: tuple[str, ...] = ()
    output: str = ""
    preparation: ByteScaling = AS_IT_IS
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    threads: int = 1
    limits: ForeignLimits = USUAL_LIMITS
    int8_loss: float = MOST_LOST
    anyway: bool = False

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise BadInput(f"task: {self.task!r} is not known", hint=f"one of {', '.join(TASKS)}")
        if self.metric in ("accuracy", "worst-class") and self.task == "regression":
            raise BadInput(
                f"metric: {self.metric} is of classification, the task is {self.task}", hint="rmse, mae, r2 or your own"
            )
        if not 0 <= self.int8_loss <= 1:
            raise BadInput(f"--int8-loss: {self.int8_loss:g} is no share", hint="from 0 to 1")
        if self.metric in ("rmse", "mae", "r2") and self.task == TASKS[0]:
            raise BadInput(f"metric: {self.metric} is of regression", hint="give --task regression")
