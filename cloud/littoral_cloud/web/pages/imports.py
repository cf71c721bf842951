"""To import a model that was made elsewhere: a form with its file, which is streamed to the coordinator's disk."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from typing import BinaryIO

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import FormData, UploadFile

from littoral.digest import PREFIX
from littoral.errors import BadInput, FleetError
from littoral_cloud.api.rest.access import needs
from littoral_cloud.api.rest.failures import http_status_of
from littoral_cloud.commands import importing, uploads
from littoral_cloud.commands.importing import ImportRequest
from littoral_cloud.trust.people import Denied
from littoral_cloud.web.asking import Ask, FormField, fields_of
from littoral_cloud.web.visitor import Visitor, VisitorDep

router = APIRouter(include_in_schema=False)

_READ_BYTES = 1 << 20
FORM = Ask(
    title="Import a model",
    does=(
        "A child process with limits opens the file, measures it, tries a smaller one with 8-bit weights, and signs what a node "
        "accepts. Nothing is trained. This takes a minute or two; the page answers when it is done.",
        "No node gets it before you roll the release out.",
    ),
    button="Import",
    back="/releases",
    action="/import/upload",
    upload=True,
    fields=(
        FormField(name="file", label="The ONNX file, with its weights inside", kind="file", needed=True),
        FormField(name="data", label="Data to measure with", kind="file", help="A .npz with x and y; else nothing is measured."),
        FormField(name="model", label="The name under which nodes serve it", needed=True),
        FormField(
            name="task",
            label="Task",
            kind="choice",
            value="classification",
            choices=(("classification", "classification"), ("regression", "regression"), ("custom", "custom")),
        ),
        FormField(
            name="prepare",
            label="How bytes become floats",
            kind="choice",
            choices=(("", "the inputs are floats already"), ("unit", "divided by 255"), ("raw", "as they are")),
        ),
        FormField(name="labels", label="Class names, in the model's order", help="With commas between; else those of the file."),
        FormField(name="anyway", label="Also where most answers are no numbers", kind="check"),
    ),
)


@router.get("/import", **needs(importing.import_))
async def form(visitor: VisitorDep) -> Response:
    await visitor.needs(importing.import_)
    return visitor.page("import.html", ask=FORM, problem="")


@router.post("/import/upload", **needs(importing.import_))
async def upload(request: Request, visitor: VisitorDep) -> Response:
    given, files = await fields_of(request), await request.form()
    try:
        return await _imported(visitor, given, files)
    except FleetError as error:
        if isinstance(error, Denied):
            raise
        problem = f"{error.message}. {error.hint}" if error.hint else error.message
        return visitor.page("import.html", http_status_of(error), ask=FORM.filled(given), problem=problem)


async def _imported(visitor: Visitor, given: Mapping[str, str], files: FormData) -> Response:
    file, name = await _stored(visitor, files, "file")
    if not file:
        raise BadInput("file: none was chosen", hint="choose an ONNX file")
    data, data_name = await _stored(visitor, files, "data")
    request = ImportRequest(
        model=given.get("model", "").strip(),
        file=file,
        file_name=name,
        data=data,
        data_name=data_name,
        task=given.get("task", ""),
        prepare=given.get("prepare", ""),
        labels=tuple(each.strip() for each in given.get("labels", "").split(",") if each.strip()),
        anyway=bool(given.get("anyway")),
    )
    made = await importing.import_(visitor.office, visitor.caller, request=request)
    return visitor.page("imported.html", made=made, model=request.model)


async def _stored(visitor: Visitor, files: FormData, field: str) -> tuple[str, str]:
    """The digest of a field's file, which is among the coordinator's blobs then, and its name; both "": none was chosen."""
    given = files.get(field)
    if not isinstance(given, UploadFile) or not given.filename:
        return "", ""
    digest = await asyncio.to_thread(_digest_of, given.file)
    office, caller = visitor.office, visitor.caller
    known = await uploads.state(office, caller, digest=digest)
    total = given.file.seek(0, os.SEEK_END)
    if not known.complete:
        await given.seek(known.stored_bytes)
        parts = _parts(given)
        await uploads.put(office, caller, digest=digest, total_bytes=total, offset=known.stored_bytes, parts=parts)
    return digest, given.filename


def _digest_of(file: BinaryIO) -> str:
    """Blocking."""
    counted = hashlib.sha256()
    file.seek(0)
    while part := file.read(_READ_BYTES):
        counted.update(part)
    return f"{PREFIX}{counted.hexdigest()}"


async def _parts(file: UploadFile) -> AsyncIterator[bytes]:
    while part := await file.read(_READ_BYTES):
        yield part
