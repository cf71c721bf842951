"""What a scenario may say: littoral_cloud.simulate.scenario."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.errors import BadInput, NotFound
from littoral_cloud.simulate.scenario import read_scenario, scenario_from

EXAMPLES = sorted((Path(__file__).parents[3] / "docs" / "scenarios").glob("*.toml"))
PLAIN = """
[[group]]
name = "camera"
nodes = 10
[[artifact]]
name = "v1"
bytes = 1000
accuracy = 0.9
serving = true
[[artifact]]
name = "v2"
bytes = 1000
accuracy = 0.9
[[rollout]]
at_s = 60
artifacts = ["v2"]
"""


@pytest.mark.parametrize(
    ("was", "becomes", "message"),
    [
        ("nodes = 10", "nodes = 0", r"group\[0\]\.nodes: 0 must lie between 1 and 100000"),
        ("nodes = 10", 'nodes = "ten"', r"group\[0\]\.nodes: 'ten' is a text"),
        ("nodes = 10", "node = 10", r"group\[0\]\.node: is not known"),
        ("nodes = 10", 'nodes = 10\nawake = "9-17"', r"group\[0\]\.awake: '9-17' is no time of the day"),
        ("nodes = 10", 'nodes = 10\nlie = "often"', r"group\[0\]\.lie: 'often' is a text"),
        ("nodes = 10", 'nodes = 10\nupdate_window = "9-17"', r"group\[0\]\.update_window: .*9-17"),
        ("nodes = 10", "nodes = 10\ntime_zones = [15]", r"group\[0\]\.time_zones: \[15\.0\] must be hours"),
        ("accuracy = 0.9\nserving", "accuracy = 1.9\nserving", r"artifact\[0\]\.accuracy: 1\.9 must lie between 0 and 1"),
        ('artifacts = ["v2"]', 'artifacts = ["v3"]', r"rollout\[0\]\.artifacts: 'v3' is no \[\[artifact\]\]"),
        (
            'artifacts = ["v2"]',
            'artifacts = ["v2"]\npolicy = {wave_sizes = ["5"]}',
            r"rollout\[0\]\.policy\.wave_sizes: '5' is neither",
        ),
        ("at_s = 60", 'at_s = 60\ngates = ["labeled"]', r"rollout\[0\]\.gates: .*'labeled' is not known"),
        ("at_s = 60", 'at_s = 60\ngates = ["p95=-1"]', r"rollout\[0\]\.gates: p95: '-1' is no number"),
        ('name = "v2"', 'name = "v1"', r"scenario\.artifact: 'v1' stands there twice"),
        ("at_s = 60", "at_s = -1", r"rollout\[0\]\.at_s: -1 must lie between"),
        ("[[group]]", 'starts = "25:00"\n[[group]]', r"scenario\.starts: '25:00' is no time of the day"),
        ("[[group]]", "[[group", r"is not TOML"),
        ("[[rollout]]", "[rollout]", r"rollout: is one table, .*write \[\[rollout\]\]"),
        ("at_s = 60", "at_s = 60\npolicy = { probation = { duration_s = -5 } }", r"policy\.probation\.duration_s: -5 must lie"),
    ],
)
def test_a_wrong_scenario_is_refused_by_field_and_value(was: str, becomes: str, message: str) -> None:
    assert scenario_from(PLAIN, "x.toml").nodes == 10
    with pytest.raises(BadInput, match=message) as refused:
        scenario_from(PLAIN.replace(was, becomes, 1), "x.toml")
    assert refused.value.message.startswith("x.toml: ")


def test_a_scenario_that_is_not_there_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.toml does not exist"):
        read_scenario(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_scenarios(path: Path) -> None:
    assert read_scenario(path).about


def test_a_folder_and_a_file_that_is_not_text_are_named_as_that(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\xff\xfe\x00")
    for path, words in ((tmp_path, "is a folder"), (tmp_path / "model.bin", "is not text")):
        with pytest.raises(BadInput, match=words) as refused:
            read_scenario(path)
        assert "TOML" in refused.value.hint
