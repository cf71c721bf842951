"""docs/reference/rpcs.md: every RPC of proto/ and who may call it.

Names and comments come from the descriptors. Who may call an RPC comes from the code that authorises it:

1. Of the coordinator: the table that the interceptor of every call looks up, `AUDIENCES` in cloud/littoral_cloud/api/access.py.
2. Of the agent: `GrpcServer` checks the token for every method but the one that it compares with; a method that calls
   `check_repository` needs `allow_load` as well.

An RPC for which neither finds a caller raises LookupError, which fails `make lint`.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from littoral_cloud.api.access import AUDIENCES
from pages.markdown import NOTICE, code, table

ROOT = Path(__file__).parents[2]
AGENT = ROOT / "edge_node" / "littoral_node" / "serving" / "grpc_server.py"
HEAD = f"""\
# RPCs

{NOTICE}
The services of `proto/`, and who may call each RPC. The coordinator's enrolment port serves `EnrolmentService` alone, under
server TLS; its fleet port serves the others under mutual TLS. An agent serves `GRPCInferenceService`."""
ANYONE = "anyone who reaches the port"
CLIENT = "a client on loopback; from elsewhere with the token"
OPERATOR = f"{CLIENT}, and with `allow_load`"
_SERVICE, _METHOD = 6, 2  # field numbers of FileDescriptorProto.service and ServiceDescriptorProto.method


def page() -> str:
    parts = [HEAD]
    for file in _files():
        for number, service in enumerate(file.service):
            callers = _agents() if service.name == "GRPCInferenceService" else _clouds(file.package, service.name)
            rows = []
            for index, method in enumerate(service.method):
                if method.name not in callers:
                    raise LookupError(f"{service.name}.{method.name}: no check of its caller was found")
                comment = _comment(file, (_SERVICE, number, _METHOD, index))
                rows.append((code(method.name), callers[method.name], comment.split("\n\n")[0]))
            parts += [f"## {file.package}.{service.name}", table(("RPC", "who may call it", "what it does"), rows)]
    return "\n\n".join(parts) + "\n"


def _files() -> Iterator[FileDescriptorProto]:
    sources = sorted((ROOT / "proto").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "all"
        options = [f"-I{ROOT / 'proto'}", "--include_source_info", f"--descriptor_set_out={out}"]
        if protoc.main(["protoc", *options, *map(str, sources)]) != 0:
            raise LookupError("protoc failed")
        yield from FileDescriptorSet.FromString(out.read_bytes()).file


def _comment(file: FileDescriptorProto, path: tuple[int, ...]) -> str:
    found = (each.leading_comments for each in file.source_code_info.location if tuple(each.path) == path)
    return "\n".join(line.strip() for line in next(found, "").strip().splitlines())


def _clouds(package: str, service: str) -> Mapping[str, str]:
    """Callers by method, for a service of the coordinator."""
    prefix = f"/{package}.{service}/"
    return {name.removeprefix(prefix): who.value for name, who in AUDIENCES.items() if name.startswith(prefix)}


def _agents() -> Mapping[str, str]:
    """Callers by method, for the agent's service."""
    [server] = [n for n in ast.parse(AGENT.read_text()).body if isinstance(n, ast.ClassDef) and n.name == "GrpcServer"]
    methods = {method.name: method for method in _methods(server)}
    if "check" not in _calls(methods["_handler"]):
        return {}
    unchecked = [n.comparators[0] for n in ast.walk(methods["_handler"]) if isinstance(n, ast.Compare)]
    open_to_all = {n.attr for n in unchecked if isinstance(n, ast.Attribute)}
    [answering] = [n for n in ast.walk(methods["_handlers"]) if isinstance(n, ast.Dict)]
    callers = {}
    for key, value in zip(answering.keys, answering.values, strict=True):
        assert isinstance(key, ast.Constant)
        name = next(n.attr for n in ast.walk(value) if isinstance(n, ast.Attribute) and ast.unparse(n).startswith("self."))
        repository = "check_repository" in _calls(methods[name])
        callers[str(key.value)] = ANYONE if name in open_to_all else OPERATOR if repository else CLIENT
    return callers


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]


def _calls(node: ast.AST) -> list[str]:
    """The names of the functions and methods that are called, without what is before the last dot."""
    return [ast.unparse(n.func).rsplit(".", 1)[-1] for n in ast.walk(node) if isinstance(n, ast.Call)]
