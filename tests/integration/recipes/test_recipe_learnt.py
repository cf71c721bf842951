"""The recipe that fits a data set teaches students what is in it."""

from __future__ import annotations

import pytest

from littoral_cloud.factory.production import teach_students
from littoral_cloud.recipes.fitted import fitted
from littoral_cloud.training.train import accuracy_of, logits_of
from tests.kit.images import bars


@pytest.mark.slow
def test_few_images_are_seen_often_enough_to_be_learnt() -> None:
    data = bars(90)
    learnt = teach_students(data, fitted(data, quick=True))
    assert learnt.teacher_accuracy > 0.9
    for student in learnt.students:
        assert accuracy_of(logits_of(student.module, student.input, data.test_x), data.test_y) > 0.8
