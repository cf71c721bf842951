"""An artifact's history as a tree of lines, in plain ASCII for ssh, logs and mails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from littoral.lineage import BASE, DATA, MEMBER, OTHER, TEACHER, WEIGHTS
from littoral.manifest import Manifest
from littoral.metric import is_judged
from littoral_cloud.lineage.find import short
from littoral_cloud.lineage.history import Origin, Story
from littoral_cloud.releases.parents import parents_by_role
from littoral_cloud.terminal.text import counted, printable, when

LINES = 12
"""The newest lines of the audit trail that the tree has."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A line, and the lines below it."""

    text: str
    branches: tuple[Branch, ...] = ()


def lines(tree: Branch) -> Iterator[str]:
    """The lines, each with its newline."""
    yield f"{printable(tree.text)}\n"
    for i, branch in enumerate(tree.branches, 1):
        last = i == len(tree.branches)
        for j, line in enumerate(lines(branch)):
            yield f"{('`- ' if last else '+- ') if j == 0 else ('   ' if last else '|  ')}{line}"


def history_tree(story: Story) -> Branch:
    """An artifact's whole history."""
    origin = story.origin
    top = _origin(origin)
    return Branch(top.text, (*_figures(origin), *top.branches, *_became(story), *_trail(story)))


def _origin(origin: Origin) -> Branch:
    """How an artifact was made; the base of a federated run is a branch of the same form."""
    manifest, artifact = origin.manifest, origin.artifact
    head = f"{manifest.name} ({manifest.model}, {manifest.runtime})  {artifact.manifest_digest}"
    parents = parents_by_role(manifest)
    made = [_weights(origin, parents)]
    if (run := origin.run) is not None:
        size = f"{counted(run.done, 'round')}, {counted(len(run.participants), 'node')}"
        words = f"federated run {run.run_id}: {run.strategy}, {size}, seed {run.seed}"
        made.append(Branch(words, (_origin(origin.base),) if origin.base else _unknown_base(parents)))
    elif origin.base is not None:
        made.append(_origin(origin.base))
    elif "import" in manifest.recipe:
        file = f"{manifest.architecture.get('file', 'a file')} {' '.join(parents.get(BASE, ()))}"
        made.append(Branch(f"imported from {file}: {_text(manifest.recipe['import'])}"))
    else:
        made += _unknown_base(parents)
    taught_by = (*_teacher(manifest, parents), *(Branch(f"data {d}{_where(artifact.data)}") for d in parents.get(DATA, ())))
    made += [_student(manifest, taught_by)] if "student" in manifest.recipe else taught_by
    made += [Branch(f"parent {digest}") for digest in parents.get(OTHER, ())]
    made += _made_with(manifest)
    return Branch(head, tuple(made))


def _weights(origin: Origin, parents: Mapping[str, Sequence[str]]) -> Branch:
    digests = parents.get(WEIGHTS, ()) or ((origin.artifact.weights,) if origin.artifact.weights else ())
    where = "here: a run can start with them" if origin.weights_held else "not here"
    shape = " ".join(f"{name}={_text(value)}" for name, value in origin.manifest.architecture.items() if name != "name")
    words = f"network {origin.manifest.architecture.get('name', '-')} {shape}".rstrip()
    return Branch(words, tuple(Branch(f"weights {digest} ({where})") for digest in digests))


def _student(manifest: Manifest, taught_by: Sequence[Branch]) -> Branch:
    recipe = dict(manifest.recipe["student"])
    methods, export = recipe.pop("methods", ()), recipe.pop("export", {})
    other = {name: value for name, value in manifest.recipe.items() if name not in ("student", "teacher")}
    branches = [*taught_by]
    branches += [Branch(f"method {m.get('kind')}: {_text({k: v for k, v in m.items() if k != 'kind'})}") for m in methods]
    branches.append(Branch(f"exported: {_text({**other, **export})}"))
    return Branch(f"student: {_text(recipe)}", tuple(branches))


def _teacher(manifest: Manifest, parents: Mapping[str, Sequence[str]]) -> list[Branch]:
    recipe = dict(manifest.recipe.get("teacher") or {})
    digests = parents.get(TEACHER, ())
    if not recipe and not digests:
        return []
    voices, known = recipe.pop("members", ()), parents.get(MEMBER, ())
    members = tuple(Branch(f"member {known[i] if i < len(known) else i + 1}: {_text(voice)}") for i, voice in enumerate(voices))
    return [Branch(f"teacher {' '.join(digests) or '-'}: {_text(recipe) or 'a network that was given'}", members)]


def _unknown_base(parents: Mapping[str, Sequence[str]]) -> tuple[Branch, ...]:
    return tuple(Branch(f"base {digest} (no artifact here has it)") for digest in parents.get(BASE, ()))


def _made_with(manifest: Manifest) -> list[Branch]:
    if (lineage := manifest.lineage) is None:
        return [Branch("made with: unknown")]
    libraries = ", ".join(f"{name} {version or 'unknown'}" for name, version in lineage.libraries.items())
    return [Branch(f"made with: {libraries}; on {lineage.processor or '-'}; seed {lineage.seed}, threads {lineage.threads}")]


def _figures(origin: Origin) -> tuple[Branch, ...]:
    manifest = origin.manifest
    score = f"{manifest.metric.name} {manifest.metric.value:.6g}" if manifest.metric else f"accuracy {manifest.accuracy:.6g}"
    judged = is_judged(manifest.accuracy, manifest.metric, manifest.class_accuracy)
    task = "" if manifest.task == "classification" else f"{manifest.task}, "
    worst = f", worst class {manifest.worst_class[1]:.6g} ({manifest.worst_class[0]})" if manifest.worst_class else ""
    files = tuple(
        Branch(f"{file.path}: {file.bytes:,} bytes" + (f", {file.transfer.bytes:,} travel" if file.transfer else ""))
        for file in manifest.files
    )
    sizes = f"{manifest.artifact_bytes:,} bytes, {manifest.transfer_bytes:,} travel, {counted(manifest.parameters, 'parameter')}"
    remarks = tuple(Branch(f"remark: {remark}") for remark in origin.artifact.remarks)
    return (
        *remarks,
        Branch(f"{task}{score} on {counted(manifest.accuracy_examples, 'example')}{worst}" if judged else f"{task}not measured"),
        Branch(f"size {sizes}", files),
    )


def _became(story: Story) -> Iterator[Branch]:
    released = []
    for r in story.releases:
        by, note = story.released_by.get(r.release_id, "-"), f", {r.note}" if r.note else ""
        released.append(Branch(f"{r.release_id}: {r.kind}{note}, {when(r.created_at)} by {by}"))
    yield Branch("released" if released else "not released", tuple(released))
    rollouts = []
    for id, rollout in story.rollouts.items():
        given = rollout.given.get(story.origin.artifact.manifest_digest, 0)
        rollouts.append(
            Branch(
                f"{id}: {rollout.state}, given to {counted(given, 'node')}" + (f": {rollout.reason}" if rollout.reason else "")
            )
        )
    if rollouts:
        yield Branch("rolled out", tuple(rollouts))
    yield Branch(f"served by {', '.join(story.served_by) or 'no node'}")
    if waiting := [name for name in story.wanted_by if name not in story.served_by]:
        yield Branch(f"desired on {', '.join(waiting)}")
    if story.retained_by:
        yield Branch(f"retained to go back to by {', '.join(story.retained_by)}")
    if story.children:
        children = tuple(Branch(f"{a.name}  {short(a.manifest_digest)}  {when(a.created_at)}") for a in story.children)
        yield Branch("made from it", children)


def _trail(story: Story) -> Iterator[Branch]:
    shown = story.audit[-LINES:]
    earlier = len(story.audit) - len(shown)
    entries = [Branch(f"{when(e.at)} {e.action} {_name(e.subject)} by {e.actor}") for e in shown]
    before = [Branch(f"{earlier} earlier: littoral-cloud audit show")] if earlier else []
    yield Branch("audit trail" if entries else "audit trail: no lines", (*before, *entries))


def _where(path: str) -> str:
    return f" in {path}" if path else ""


def _name(subject: str) -> str:
    return short(subject) if subject.startswith("sha256:") else subject


def _text(value: Any) -> str:
    """A recipe's value in short: name value, lists in brackets; skips values that are not set."""
    if isinstance(value, Mapping):
        parts = [(str(name), part) for name, part in value.items() if part is not None]
        return ", ".join(
            f"{name} ({_text(part)})" if isinstance(part, Mapping) else f"{name} {_text(part)}" for name, part in parts
        )
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(part) for part in value)}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
