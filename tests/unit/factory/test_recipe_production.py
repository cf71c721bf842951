"""A recipe carried out: one pass of the teacher for all students, methods in their order, stopped and gone on."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from littoral.errors import BadInput, Conflict, NotFound
from littoral_cloud.compression.dependency_graph import layers_of
from littoral_cloud.compression.methods import METHODS
from littoral_cloud.factory.checks import check_recipe
from littoral_cloud.factory.plan import plan_of
from littoral_cloud.factory.production import Execution, TaughtStudents, make_students, teach_students
from littoral_cloud.recipes.recipe import Production
from littoral_cloud.recipes.recipe_file import parse_recipe
from littoral_cloud.training.resume import Stopped, WorkFolders
from littoral_cloud.training.schedule import Step
from tests.kit import teachers
from tests.kit.images import bars

DATA = bars()
COUNTED = """
[teacher]
function = "tests.kit.teachers:that_counts"
"""
TRAINED = """
[teacher]
architecture = { name = "compact_cnn", widths = [4, 8] }
epochs = 1
schedule = { batch = 16, learning_rate = 1e-2 }
"""


def student(name: str = "s", more: str = "", *, schedule: str = "", epochs: int = 2) -> str:
    return f"""
[[student]]
name = "{name}"
architecture = {{ name = "compact_cnn", widths = [4, 8] }}
epochs = {epochs}
schedule = {{ batch = 16, learning_rate = 1e-2{schedule} }}
variants = ["ncnn"]
{more}
"""


def method(kind: str, more: str = "") -> str:
    return f'[[student.method]]\nkind = "{kind}"\nepochs = 1\n{more}\n'


def recipe(text: str) -> Production:
    return parse_recipe(text, what="r.toml", model="m")


def asked(plan: Production, folder: Path | None = None) -> tuple[TaughtStudents, int]:
    """What was learnt, and how many images the teacher was shown while it was."""
    teachers.CALLS.clear()
    learnt = teach_students(DATA, plan, Execution(folders=WorkFolders(folder / "c", folder / "a") if folder else None))
    return learnt, sum(teachers.CALLS)


TRIED = 64 + 21 + len(DATA.test_y)  # a function is tried on a sample, then on a third of it; then it is judged


def test_several_students_learn_from_one_pass_of_the_teacher(tmp_path: Path) -> None:
    moved = ", augment = { copies = 2, shift = 1.0 }"
    three = recipe(COUNTED + "".join(student(name, schedule=moved) for name in ("a", "b", "c")))
    learnt, shown = asked(three, tmp_path)
    assert shown == TRIED + 2 * len(DATA.train_y)  # two copies, whoever learns from them
    assert plan_of(three, DATA).logits_bytes == 2 * len(DATA.train_y) * 3 * 4
    assert [s.name for s in learnt.students] == ["a", "b", "c"]
    assert learnt.teacher_accuracy > 0.5
    # Another recipe with the same teacher finds its answers on the disk.
    another, shown = asked(recipe(COUNTED + student("d", schedule=moved)), tmp_path)
    assert shown == TRIED
    assert another.students[0].digest == learnt.students[0].digest


def test_without_a_teacher_students_learn_from_the_labels(tmp_path: Path) -> None:
    made = make_students(DATA, recipe(student(epochs=6)))
    assert (made.teacher, made.teacher_accuracy) == (None, 0.0)
    [packaged] = made.packaged
    assert packaged.manifest.accuracy > 0.8
    assert packaged.manifest.parents == (DATA.digest, made.students[0].digest)
    assert packaged.manifest.recipe["teacher"] is None


METHOD_FIELDS = {
    "magnitude": "sparsity = 0.5",
    "channels": "ratio = 0.5",
    "saliency": "keep = 0.5",
    "qat": "",
    "weight-sharing": "bits = 4",
}


@pytest.mark.parametrize("kind", METHODS)
def test_each_method_runs_to_its_end(kind: str) -> None:
    plan = recipe(COUNTED + student(more=method(kind, METHOD_FIELDS[kind]), epochs=1))
    plain, _ = asked(recipe(COUNTED + student(epochs=1)))
    learnt, _ = asked(plan)
    assert learnt.students[0].name == f"s-{kind}"
    assert learnt.students[0].digest != plain.students[0].digest


def test_methods_follow_one_another_and_the_manifest_says_which() -> None:
    both = method("magnitude", "sparsity = 0.5") + method("channels", "ratio = 0.5")
    shares: list[float] = []
    made = make_students(DATA, recipe(TRAINED + student(more=both, epochs=1)), Execution(progress=shares.append))
    [pruned] = made.students
    assert pruned.name == "s-magnitude-channels"
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    manifest = made.packaged[0].manifest
    assert manifest.name == "s-ncnn"  # as the recipe calls it
    assert [m["kind"] for m in manifest.recipe["student"]["methods"]] == ["magnitude", "channels"]
    assert manifest.parameters == pruned.parameters < 300


def test_a_method_with_moves_of_its_own_gets_answers_to_those() -> None:
    more = method("magnitude", "sparsity = 0.5\nschedule = { augment = { copies = 1 } }")
    learnt, shown = asked(recipe(COUNTED + student(more=more, schedule=", augment = { copies = 2 }")))
    assert shown == TRIED + 2 * len(DATA.train_y)  # copy 0 is the same for both
    assert learnt.students


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.9])
def test_stopped_anywhere_the_same_call_ends_with_the_same_weights(tmp_path: Path, share: float) -> None:
    plan = recipe(TRAINED + student(more=method("magnitude", "sparsity = 0.5"), epochs=1) + student("t", epochs=1))
    of_whole: list[Step] = []
    whole = teach_students(DATA, plan, Execution(steps=of_whole.append))
    kept, stop = WorkFolders(tmp_path / "c", tmp_path / "a", every=1000), threading.Event()
    taken: list[Step] = []

    def took(step: Step) -> None:
        taken.append(step)
        if len(taken) >= share * len(of_whole):
            stop.set()

    with pytest.raises(Stopped, match="stopped"):
        teach_students(DATA, plan, Execution(folders=kept, steps=took, stop=stop))
    said: list[str] = []
    again = teach_students(DATA, plan, Execution(folders=kept, tell=said.append))
    assert [s.digest for s in again.students] == [s.digest for s in whole.students]
    assert any("goes on after step" in line for line in said)


def test_a_student_that_fails_stops_the_others_and_is_the_one_that_is_named(tmp_path: Path) -> None:
    wild = student("wild", '[[student.method]]\nkind = "failing"\nepochs = 1', epochs=1)
    plan = parse_recipe(
        wild + student("long", epochs=100_000), what="r.toml", model="m", methods={"failing": "tests.kit.methods:Failing"}
    )
    kept = WorkFolders(tmp_path / "c", tmp_path / "a", every=0)
    with pytest.raises(BadInput, match=r"student wild: failing: as it was made to"):
        teach_students(DATA, plan, Execution(folders=kept))
    assert list((tmp_path / "c").glob("long-*.safetensors"))  # what the other had learnt is kept


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        (method("magnitude", "keep = { nowhere = 3 }"), r"magnitude\.keep: there is no layer 'nowhere' \(nearest: "),
        (method("magnitude", "keep = { classify = 1_000 }"), r"magnitude\.keep\.classify: 1000 of 24 weights"),
        (method("saliency", "keep = 1_000_000"), r"saliency\.keep: 1000000 of \d+ weights"),
        (method("channels", "layers = { nowhere = 0.5 }"), "channels: there is no layer 'nowhere'"),
        (method("channels", 'skip = ["features.conv3"]'), "channels: there is no layer 'features.conv3'"),
        (method("weight-sharing", "layers = { nowhere = 3 }"), r"weight-sharing\.layers: there is no layer 'nowhere'"),
        # What channels leave is what the next method finds.
        (
            method("channels", "ratio = 0.5") + method("magnitude", "keep = { classify = 24 }"),
            r"magnitude\.keep\.classify: 24 of 12 weights",
        ),
    ],
)
def test_a_method_that_does_not_fit_the_network_is_refused_before_anything_is_trained(methods: str, said: str) -> None:
    with pytest.raises(BadInput, match=f"^student s: {said}"):
        check_recipe(recipe(student(more=methods)), DATA)


def test_channels_that_cannot_be_taken_out_are_refused_before_anything_is_trained() -> None:
    shuffled = student(more=method("channels")).replace('{ name = "compact_cnn", widths = [4, 8] }', '{ name = "shufflenet_v2" }')
    with pytest.raises(BadInput, match=r"student s: channels: the outputs of ShuffleNetV2's layers cannot be followed"):
        check_recipe(recipe(shuffled), DATA)


@pytest.mark.parametrize("after", ["channels", "qat", "magnitude"])
def test_what_was_pruned_stays_pruned(after: str) -> None:
    pruned = method("magnitude", "sparsity = 0.6")
    more = {"magnitude": "keep = { classify = 1.0 }"}.get(after, METHOD_FIELDS[after])
    [before] = teach_students(DATA, recipe(student(more=pruned))).students
    [made] = teach_students(DATA, recipe(student(more=pruned + method(after, more)))).students
    zeros = {name: int((layer.weight == 0).sum()) for name, layer in layers_of(made.module).items()}
    if after != "channels":  # the same layers: each has at least as many zeros
        wanted = {name: int((layer.weight == 0).sum()) for name, layer in layers_of(before.module).items()}
        assert all(zeros[name] >= wanted[name] for name in wanted)
    assert sum(zeros.values()) > 0.3 * sum(layer.weight.numel() for layer in layers_of(made.module).values())


def test_a_foreign_teacher_that_is_always_wrong_is_remarked_on() -> None:
    said: list[str] = []
    text = COUNTED.replace("that_counts", "upside_down")
    teach_students(DATA, recipe(text + student(epochs=1)), Execution(tell=said.append))
    assert any("are its classes in the order of the labels?" in line for line in said)


def test_a_teacher_that_is_not_there_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        teach_students(DATA, recipe(f'[teacher]\nonnx = "{tmp_path}/gone.onnx"\n' + student(epochs=100_000)))


def test_a_training_is_one_process_at_a_time(tmp_path: Path) -> None:
    kept, plan = WorkFolders(tmp_path / "c", tmp_path / "a"), recipe(student(epochs=1))
    teach_students(DATA, plan, Execution(folders=kept))
    [lock] = (tmp_path / "c").glob("*.lock")
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="s: another process is at this very training"):
            teach_students(DATA, plan, Execution(folders=kept))
    teach_students(DATA, plan, Execution(folders=kept))


def test_a_recipe_of_which_one_student_was_changed_finds_the_rest(tmp_path: Path) -> None:
    kept, said = WorkFolders(tmp_path / "c", tmp_path / "a"), list[str]()
    teach_students(DATA, recipe(TRAINED + student("a") + student("b", epochs=1)), Execution(folders=kept))
    teach_students(DATA, recipe(TRAINED + student("a") + student("b", epochs=2)), Execution(folders=kept, tell=said.append))
    assert sorted(said) == ["a: goes on after step 24", "teacher: goes on after step 12"]
    kept.forget()
    assert list((tmp_path / "c").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"checkpoints: .*file/c/s-[0-9a-f]{16}.safetensors cannot be written"):
        teach_students(
            DATA, recipe(student(epochs=100_000)), Execution(folders=WorkFolders(tmp_path / "file" / "c", tmp_path / "a"))
        )
