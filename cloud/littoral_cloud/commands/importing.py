"""The use case that imports a model from elsewhere: measured, quantized, tested, signed and released (docs/import.md).

The file was uploaded. A child process of the coordinator opens it, runs it and quantizes it, with limits on memory and time.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from littoral.digest import digest_of_file
from littoral.errors import BadData, BadInput, NoSpace, NotFound, RuntimeFailure, TooLarge
from littoral.manifest import Manifest
from littoral.process.aio import AsyncWorker
from littoral.process.worker import Raised, WorkerSpec
from littoral_cloud.commands.publishing import tested
from littoral_cloud.commands.rollout_request import RolloutRequest
from littoral_cloud.commands.rollouts import start
from littoral_cloud.commands.uploads import needs_whole
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.records import Artifact
from littoral_cloud.fleet.telemetry import check_model_name
from littoral_cloud.releases.catalogue import create_release, sign
from littoral_cloud.trust.people import Caller, Role

READY_S = 120.0
LONGEST_S = 3_600.0
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.() +-]{0,120}")
_COPIED_BYTES = 1 << 20
_RAISED = Raised(refused=(RuntimeFailure, BadInput, BadData, NotFound, TooLarge, NoSpace))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """Digests of files that were uploaded, and what is to be made of them.

    Attributes:
        model: the name under which nodes serve it.
        file, file_name: of the ONNX file. `beside`: files beside it that have its weights: digests by name.
        data, data_name: of an .npz file to measure and calibrate with; empty: nothing is measured.
        task: classification, regression, detection or custom.
        metric: accuracy, worst-class, rmse, mae or r2; empty: the task's.
        labels: class names, in the model's order. `output`: the one to measure; empty: the first.
        prepare: how bytes become floats: raw, or unit (divided by 255); `mean`, `std`: then of each channel.
        sizes: of an input, where there are no data. `name`: the artifacts'; empty: the file's.
        memory_bytes, seconds: limits for opening and running it, and for each call of it.
        int8_loss: the share of the metric that int8 may lose; above it int8 is not released.
        anyway: also where its answers are mostly not numbers, with a remark.
        rollout: also start a rollout of the release.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    model: str
    file: str
    file_name: str = "model.onnx"
    beside: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    data_name: str = ""
    task: str = "classification"
    metric: str = ""
    labels: tuple[str, ...] = ()
    output: str = ""
    prepare: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    name: str = ""
    memory_bytes: int = 4 << 30
    seconds: float = 300.0
    int8_loss: float = 0.05
    anyway: bool = False
    rollout: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedArtifact:
    """`examples`: that it was measured with; 0: it was not. `inputs`, `outputs`: "NAME DATATYPE SIZES" of each tensor."""

    artifact: Artifact
    examples: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel:
    """`rollout`: empty: none was started. `notes`: what could not be done, or was left out."""

    release: str
    rollout: str
    artifacts: tuple[ImportedArtifact, ...]
    notes: tuple[str, ...]


@use_case("artifact.import", Role.OPERATOR)
async def import_(office: Office, caller: Caller, *, request: ImportRequest) -> ImportedModel:
    """Measures, quantizes, tests, signs and releases a model from elsewhere. Trains nothing.

    Raises what littoral_cloud.foreign.importing.import_model raises; RuntimeFailure where a node would refuse all of it.
    """
    caller.needs_model(check_model_name(request.model, "model"))
    if ":" in request.metric:
        raise BadInput("metric: a function of your own does not run on the coordinator", hint="littoral-cloud artifact import")
    with tempfile.TemporaryDirectory(prefix="littoral-import-") as scratch:
        given, to = Path(scratch, "given"), Path(scratch, "made")
        given.mkdir()
        to.mkdir()
        await asyncio.to_thread(_gather, office, request, given)
        async with office.heavy:
            head = await _made(request, given, to)
        notes: list[str] = head["notes"]
        taken = await _taken(office, caller, request, [to / name for name in head["made"]], notes)
    digests, note = [each.artifact.manifest_digest for each in taken], f"imported {request.file_name}"
    core = office.core
    release = await create_release(core.ledger, request.model, digests, "manual", note, core.clock(), actor=caller.name)
    rollout = ""
    if request.rollout:
        rollout = (await start(office, caller, request=RolloutRequest(release=release.release_id))).rollout
    return ImportedModel(release=release.release_id, rollout=rollout, artifacts=tuple(taken), notes=tuple(notes))


def _gather(office: Office, request: ImportRequest, folder: Path) -> None:
    """The uploaded files, by their names. Raises BadInput."""
    wanted = [("file", request.file_name, request.file), *(("beside", name, digest) for name, digest in request.beside.items())]
    if request.data:
        wanted.append(("data", request.data_name, request.data))
    for at, name, digest in wanted:
        if not _FILE_NAME.fullmatch(name):
            raise BadInput(f"{at}: {name[:80]!r} is no plain name of a file", hint="letters, digits, spaces and . _ ( ) + - only")
        needs_whole(office, at, digest)
        shutil.copyfile(office.core.blobs.path(digest), folder / name)


async def _made(request: ImportRequest, given: Path, to: Path) -> dict[str, Any]:
    """What the child answers."""
    settings = {"folder": str(given), "to": str(to)}
    spec = WorkerSpec("littoral_cloud.foreign.import_main", settings, what=f"import of {request.file_name}", raised=_RAISED)
    worker = await AsyncWorker.start(spec, READY_S)
    try:
        head, _ = await worker.call(asdict(request), {}, limit_s=LONGEST_S)
        return head
    finally:
        worker.end()


async def _taken(
    office: Office, caller: Caller, request: ImportRequest, made: list[Path], notes: list[str]
) -> list[ImportedArtifact]:
    """Those that a node takes, signed. Raises RuntimeFailure where it takes none."""
    core, taken, refused = office.core, list[ImportedArtifact](), list[str]()
    for path in made:
        manifest = Manifest.decode(await asyncio.to_thread(path.read_bytes))
        for file in manifest.files:
            for digest in (file.digest, *((file.transfer.digest,) if file.transfer is not None else ())):
                await asyncio.to_thread(_stored, core.blobs, path.parent / digest)
        try:
            if untested := await tested(office, manifest):
                notes.append(f"{manifest.name}: not tried as a node would, {untested}")
        except RuntimeFailure as error:
            refused.append(error.message)
            continue
        artifact = await sign(core, manifest, core.clock(), data=request.data_name, actor=caller.name)
        taken.append(_shown(artifact, manifest))
    if not taken:
        raise RuntimeFailure("; ".join(refused), hint="nothing was released")
    notes += [f"{reason}; it is not released" for reason in refused]
    return taken


def _stored(blobs: BlobStore, path: Path) -> None:
    """Puts a file, a part at a time. Blocking."""
    digest, total = digest_of_file(path), path.stat().st_size
    if blobs.renew(digest):
        return
    with path.open("rb") as file:
        file.seek(stored := blobs.stored_bytes(digest))
        while part := file.read(_COPIED_BYTES):
            stored = blobs.append(digest, stored, part)
    blobs.complete(digest, total)


def _shown(artifact: Artifact, manifest: Manifest) -> ImportedArtifact:
    signature = manifest.signature
    assert signature is not None  # every imported model has one
    return ImportedArtifact(
        artifact=artifact,
        examples=manifest.accuracy_examples,
        inputs=tuple(f"{spec.name} {spec.datatype} {spec.sizes}" for spec in signature.inputs),
        outputs=tuple(f"{spec.name} {spec.datatype} {spec.sizes}" for spec in signature.outputs),
    )
