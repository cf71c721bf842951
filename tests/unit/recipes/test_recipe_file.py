"""Recipes in TOML: each that is shipped can be read, and whatever is wrong in one is named with its file, place and way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.errors import BadInput, NotFound
from littoral_cloud.compression.magnitude_pruning import Magnitude
from littoral_cloud.compression.methods import METHODS
from littoral_cloud.factory.checks import check_recipe
from littoral_cloud.packaging.package import EXPORTERS
from littoral_cloud.recipes.recipe import EnsembleRecipe, FunctionRecipe, OnnxRecipe, Production, TeacherRecipe, WeightsRecipe
from littoral_cloud.recipes.recipe_file import BUILT_IN, USUAL, about, names, parse_recipe, recipe_named
from littoral_cloud.training.augmentation import Augment
from littoral_cloud.training.schedule import Schedule
from tests.kit.images import bars
from tests.kit.measured import series, table

STUDENT = """
[[student]]
name = "s"
architecture = { name = "compact_cnn" }
epochs = 2
"""
TEACHER = """
[teacher]
architecture = { name = "compact_cnn" }
epochs = 1
"""


def parse(text: str) -> Production:
    return parse_recipe(text, what="r.toml", model="m")


@pytest.mark.parametrize("name", names())
def test_a_shipped_recipe_can_be_read_and_is_its_resolved_self(name: str) -> None:
    recipe = recipe_named(name)
    kind = name if name in USUAL else "images"
    assert recipe.model == ("digits" if kind == "images" else name)
    assert recipe_named(name, model="mine").model == "mine"
    assert len(about(name)) > 20
    check_recipe(recipe, {"images": bars(size=28), "table": table(), "series": series()}[kind])
    for student in recipe.students:
        assert set(student.variants) <= set(EXPORTERS)
        assert [method["kind"] for method in student.resolved()["methods"]] == [m.kind for m in student.methods]


def test_there_is_a_shipped_recipe_for_every_method() -> None:
    used = {method.kind for name in names() for student in recipe_named(name).students for method in student.methods}
    assert used == set(METHODS)
    assert set(names()) >= {"distil", "ensemble", "labels", "int8", "hinton", "demo", "tiny"}
    assert {"deep-compression-lenet-300-100", "deep-compression-lenet-5"} <= set(names())


def test_everything_a_recipe_can_say() -> None:
    recipe = parse("""
        about = "all of it"
        at_once = 1

        [teacher]
        combine = "probabilities"
        temperature = 2
        [[teacher.member]]
        architecture = { name = "compact_cnn", widths = [4, 8] }
        epochs = 3
        seed = 5
        threads = 2
        [[teacher.member]]
        weight = 2
        onnx = "/models/big.onnx"
        prepare = "unit"
        output = "scores"
        [[teacher.member]]
        function = "mine.net:answer"
        gives = "probabilities"
        [[teacher.member]]
        weights = "/models/old.safetensors"
        mean = [0.5]
        std = [0.5]

        [[student]]
        name = "s"
        architecture = { name = "compact_cnn" }
        epochs = 2
        seed = 3
        alpha = 0.3
        beta = 0.7
        temperature = 2.0
        threads = 1
        variants = ["onnx"]
        schedule = { batch = 32, learning_rate = 1e-3, weight_decay = 0, shift = 1, augment = { copies = 2, rotation = 5 } }
        [[student.method]]
        kind = "magnitude"
        epochs = 4
        sparsity = 0.9
        keep = { classify = 10, "features.conv1" = 0.5 }
        schedule = { learning_rate = 2e-3 }
    """)
    assert isinstance(recipe.teacher, EnsembleRecipe)
    assert (recipe.at_once, recipe.teacher.combine, recipe.teacher.temperature) == (1, "probabilities", 2.0)
    assert [member.teacher for member in recipe.teacher.members] == [
        TeacherRecipe({"name": "compact_cnn", "widths": [4, 8]}, 3, seed=5, threads=2),
        OnnxRecipe("/models/big.onnx", "unit", output="scores"),
        FunctionRecipe("mine.net:answer", "probabilities"),
        WeightsRecipe("/models/old.safetensors", mean=(0.5,), std=(0.5,)),
    ]
    assert [member.weight for member in recipe.teacher.members] == [1.0, 2.0, 1.0, 1.0]
    [student] = recipe.students
    augment = Augment(copies=2, rotation=5.0)
    assert student.schedule == Schedule(32, 1e-3, 0.0, 1, augment=augment)
    # A method's schedule and seed are its student's as far as it does not say otherwise.
    keep = {"classify": 10, "features.conv1": 0.5}
    assert student.methods == (Magnitude(4, Schedule(32, 2e-3, 0.0, 1, augment=augment), 3, 0.9, keep),)
    resolved = recipe.resolved()
    assert resolved["students"][0]["methods"][0]["kind"] == "magnitude"
    assert [m.get("onnx") for m in resolved["teacher"]["members"]] == [None, "big.onnx", None, None]  # no path of a machine


def test_files_of_a_recipe_lie_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('model = "m"\n[teacher]\nonnx = "models/big.onnx"\n' + STUDENT)
    recipe = recipe_named(str(path))
    assert recipe.teacher == OnnxRecipe(str(tmp_path / "models" / "big.onnx"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = ", r"r\.toml: is not TOML: Invalid value"),
        ("", r"r\.toml: student: there is none"),
        ("modle = 'x'" + STUDENT, r"r\.toml: recipe\.modle: is not known \(did you mean model\?"),
        ("at_once = 0" + STUDENT, r"r\.toml: at_once: 0"),
        ("at_once = true" + STUDENT, r"r\.toml: at_once: True \(it must be a whole number\)"),
        ("student = 3", r"r\.toml: student: is a whole number \(write \[\[student\]\] once for each\)"),
        ("[student]\nname = 's'", r"r\.toml: student: is a table"),
        ("teacher = 3" + STUDENT, r"r\.toml: teacher: 3 \(it must be a table\)"),
        (STUDENT + "lr = 3", r"r\.toml: student\[s\]\.lr: is not known \(known are name, architecture, .*, method\)"),
        (STUDENT + "epoch = 3", r"student\[s\]\.epoch: is not known \(did you mean epochs\?"),
        (STUDENT + "temprature = 3.0", r"did you mean temperature\?"),
        (STUDENT + "alpha = '1'", r"student\[s\]\.alpha: '1' is a text \(it must be a number\)"),
        (STUDENT + "temperature = 0", r"student\[s\]: alpha 0\.1, beta 0\.9, temperature 0\.0"),
        (STUDENT + "threads = 0", r"student\[s\]: threads: 0"),
        (STUDENT + "variants = []", r"student\[s\]: variants: \[\]"),
        (STUDENT + "schedule = { batch = 0 }", r"student\[s\]\.schedule: schedule: .*batch=0"),
        (
            STUDENT + "schedule = { augment = { rotaton = 3 } }",
            r"schedule\.augment\.rotaton: is not known \(did you mean rotation\?",
        ),
        (STUDENT + "schedule = { augment = { copies = 0 } }", r"schedule\.augment: augment\.copies: 0"),
        (STUDENT.replace('"s"', '"../s"'), r"student\[\.\./s\]: name: '\.\./s'"),
        (STUDENT + "seed = -1", r"student\[s\]: seed: -1 \(0 to "),
        (STUDENT + f"seed = {2**63}", r"student\[s\]: seed: 9223372036854775808"),
        (TEACHER + "seed = -3" + STUDENT, r"teacher: seed: -3"),
        (STUDENT + "schedule = { augment = { seed = -1 } }", r"schedule\.augment: augment\.seed: -1"),
        (STUDENT + "[[student.method]]\nkind = 'qat'\nepochs = 1\nseed = -1", r"method\[1\]\.qat: qat\.seed: -1"),
        (STUDENT + "[[student.method]]\nkind = 'saliency'\nkeep = 9\nepochs = 0", r"method\[1\]\.saliency: saliency\.epochs: 0"),
        *(
            (
                STUDENT + f"[[student.method]]\nkind = '{last}'\nepochs = 1\n[[student.method]]\nepochs = 1\n{after}",
                rf"r\.toml: student\[s\]: method: [\w-]+ after {last} would undo .* \({out}",
            )
            for last in ("weight-sharing", "qat")
            for after, out in (
                ("kind = 'magnitude'\nsparsity = 0.5", f"put {last} last"),
                ("kind = 'channels'", f"put {last} last"),
                ("kind = 'weight-sharing'", "one of weight-sharing and qat, not both"),
                ("kind = 'qat'", "one of weight-sharing and qat, not both"),
            )
        ),
        (STUDENT.replace("epochs = 2", ""), r"student\[s\]\.epochs: is missing"),
        (STUDENT + STUDENT, r"two trainings would be called 's'"),
        (TEACHER + STUDENT.replace('"s"', '"teacher"'), r"two trainings would be called 'teacher'"),
        (
            STUDENT + "[[student.method]]\nkind = 'prune'",
            r"student\[s\]\.method\[1\]\.kind: 'prune' is not known \(.*one of magnitude",
        ),
        (STUDENT + "[[student.method]]\nkind = 'magnitud'", r"did you mean magnitude\?"),
        (STUDENT + "[[student.method]]\nepochs = 1", r"method\[1\]\.kind: is missing"),
        (STUDENT + "[[student.method]]\nkind = 'magnitude'\nsparsity = 0.5", r"method\[1\]\.magnitude\.epochs: is missing"),
        (
            STUDENT + "[[student.method]]\nkind = 'magnitude'\nepochs = 1\nsparsty = 0.5",
            r"method\[1\]\.magnitude\.sparsty: is not known \(did you mean sparsity\?",
        ),
        (STUDENT + "[[student.method]]\nkind = 'magnitude'\nepochs = 1\nsparsity = 1.5", r"magnitude\.sparsity: 1\.5"),
        (
            "[teacher]" + STUDENT,
            r"r\.toml: teacher: holds none, but nothing \(exactly one of architecture, onnx, weights, function",
        ),
        ("[teacher]\nonx = 'x'" + STUDENT, r"teacher: holds none, but onx \(did you mean onnx\?"),
        ("[teacher]\nonnx = 'x'\nfunction = 'a:b'" + STUDENT, r"teacher: holds onnx and function"),
        ("[teacher]\nonnx = 'x'\nepochs = 3" + STUDENT, r"teacher\.epochs: is not known \(.*known are onnx, prepare"),
        ("[teacher]\nonnx = 'x'\nprepare = 'half'" + STUDENT, r"teacher\.prepare: 'half' .*'standard' or 'unit' or 'raw'"),
        ("[teacher]\nonnx = 'x'\nmean = [0.5]" + STUDENT, r"teacher: mean \[0\.5\], std \[\]"),
        ("[[teacher.member]]\nonnx = 'x'" + STUDENT, r"teacher: members: 1 \(an ensemble has two or more\)"),
        ("[[teacher.member]]\nonnx = 'x'\nweight = 0" + STUDENT, r"teacher\.member\[1\]: weight: 0\.0"),
        ("[teacher]\nmember = [{ member = [] }]" + STUDENT, r"teacher\.member\[1\]: holds none, but member"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parse(text)


def test_a_recipe_needs_a_model_from_somewhere() -> None:
    with pytest.raises(BadInput, match=r"r\.toml: model: is missing \(give --model"):
        parse_recipe(STUDENT, what="r.toml")
    assert parse_recipe('model = "theirs"' + STUDENT, what="r.toml").model == "theirs"
    for text, named in (("", "../up"), ("model = 'My Model'", None)):
        with pytest.raises(BadInput, match=r"r\.toml: model: '(\.\./up|My Model)' is no name \(a to z"):
            parse_recipe(text + STUDENT, what="r.toml", model=named)
    assert parse_recipe('model = "theirs"' + STUDENT, what="r.toml", model="mine").model == "mine"


def test_a_name_or_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"'distill' is not known \(did you mean distil\? a path to a \.toml file, or one of "):
        recipe_named("distill")
    with pytest.raises(NotFound, match=r"gone\.toml does not exist"):
        recipe_named(str(tmp_path / "gone.toml"))
    (tmp_path / "latin.toml").write_bytes(b"about = '\xff'")
    with pytest.raises(BadInput, match=r"latin\.toml cannot be read"):
        recipe_named(str(tmp_path / "latin.toml"))
    (tmp_path / "huge.toml").write_bytes(b"#" * (1 << 20) + b"##")
    with pytest.raises(BadInput, match=r"holds 1,048,578 bytes"):
        recipe_named(str(tmp_path / "huge.toml"))


def test_what_does_not_fit_the_data_set_is_said_before_training() -> None:
    with pytest.raises(BadInput, match=r"student s: variant 'tensorrt' is not known \(one of onnx"):
        check_recipe(parse(STUDENT + 'variants = ["tensorrt"]'), bars())
    with pytest.raises(BadInput, match=r"student s: architecture\.name: 'compact' is not known"):
        check_recipe(parse(STUDENT.replace("compact_cnn", "compact")), bars())
    with pytest.raises(BadInput, match=r"teacher: architecture\.widhts: compact_cnn has no such parameter"):
        check_recipe(parse(TEACHER.replace("}", ", widhts = [3] }") + STUDENT), bars())


def test_the_built_in_recipes_are_what_the_names_give() -> None:
    for name, recipe in BUILT_IN.items():
        assert recipe_named(name) == recipe


keys = st.sampled_from(
    ["model", "teacher", "student", "name", "epochs", "architecture", "method", "kind", "member", "weight", "x"]
)
values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.sampled_from(["magnitude", "compact_cnn", "s", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)


def written(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {written(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


@given(st.dictionaries(keys, values, max_size=4))
def test_whatever_toml_comes_it_is_a_recipe_or_refused_by_name(body: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {written(value)}" for key, value in body.items())
    try:
        found = parse(text)
    except BadInput as error:
        assert error.message.startswith("r.toml: ")  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(found, Production)


@given(st.text(max_size=60))
def test_whatever_text_comes_it_is_a_recipe_or_refused_by_name(text: str) -> None:
    with pytest.raises(BadInput, match=r"^r\.toml: "):
        parse(text)
