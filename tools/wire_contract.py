"""Freezes the protocol between cloud and nodes: `make wire-freeze` adds what is new to tests/old/wire/.

contract.txt has one line for each field, enum value and RPC. Released nodes rely on each line: it never changes and never goes.
samples.json has each message with all its fields as bytes, and the values that these bytes must always give. Both files only
grow.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message_factory import GetMessageClass

from littoral.fleet.v1 import blob_pb2, enrolment_pb2, escalation_pb2, hardware_pb2, session_pb2

FILES: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR for module in (blob_pb2, enrolment_pb2, escalation_pb2, hardware_pb2, session_pb2)
)
FOLDER = Path(__file__).parents[1] / "tests" / "old" / "wire"
CONTRACT, SAMPLES = FOLDER / "contract.txt", FOLDER / "samples.json"
_TYPES = {value: name.removeprefix("TYPE_").lower() for name, value in vars(FieldDescriptor).items() if name.startswith("TYPE_")}
_FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


def contract() -> list[str]:
    """One line for each field, enum value and RPC of today."""
    lines = [line for file in FILES for message in file.message_types_by_name.values() for line in _message_lines(message)]
    lines += [line for file in FILES for enum in file.enum_types_by_name.values() for line in _enum_lines(enum)]
    for file in FILES:
        for service in file.services_by_name.values():
            for rpc in service.methods:
                sent, received = ("stream " * streams for streams in (rpc.client_streaming, rpc.server_streaming))
                lines.append(f"rpc {rpc.full_name}: {sent}{rpc.input_type.full_name} -> {received}{rpc.output_type.full_name}")
    return sorted(lines)


def samples() -> dict[str, dict[str, Any]]:
    """By the full name of the message: its bytes in hexadecimal, and the values in them. Every field has one that is not 0."""
    found = {}
    for file in FILES:
        for descriptor in file.message_types_by_name.values():
            for name, message in _filled(descriptor):
                data = message.SerializeToString(deterministic=True)
                found[name] = {"bytes": data.hex(), "values": values_of(message)}
    return found


def values_of(message: Any) -> dict[str, Any]:
    """As JSON values, by the names of the fields."""
    values: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return values


def message_of(name: str) -> Any:
    """An empty message.

    Args:
        name: a key of `samples`.
    """
    full_name = name.partition("/")[0]
    [descriptor] = [found for file in FILES for found in file.message_types_by_name.values() if found.full_name == full_name]
    return GetMessageClass(descriptor)()


def _message_lines(message: Descriptor) -> Iterator[str]:
    for field in message.fields:
        kind = field.message_type or field.enum_type
        many = "repeated " if field.is_repeated else "optional " if field.has_presence and not field.message_type else ""
        type_name = kind.full_name if kind else _TYPES[field.type]
        oneof = f" in {field.containing_oneof.name}" if field.containing_oneof and not _is_optional(field) else ""
        yield f"field {message.full_name}.{field.name} = {field.number}: {many}{type_name}{oneof}"
    for nested in message.nested_types:
        yield from _message_lines(nested)


def _enum_lines(enum: EnumDescriptor) -> Iterator[str]:
    for value in enum.values:
        yield f"value {enum.full_name}.{value.name} = {value.number}"


def _is_optional(field: FieldDescriptor) -> bool:
    return field.containing_oneof is not None and field.containing_oneof.name == f"_{field.name}"


def _filled(descriptor: Descriptor) -> Iterator[tuple[str, Any]]:
    """The message with all its fields; where it has a oneof, once with each field of it, as NAME/FIELD."""
    choices = [field for oneof in descriptor.oneofs if not oneof.name.startswith("_") for field in oneof.fields]
    for choice in choices or [None]:
        message = GetMessageClass(descriptor)()
        for field in descriptor.fields:
            if field is choice or field not in choices:
                _fill(message, field)
        yield (f"{descriptor.full_name}/{choice.name}" if choice else descriptor.full_name), message


def _fill(message: Any, field: FieldDescriptor) -> None:
    if field.message_type and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        if value.message_type:
            getattr(message, field.name)["digits"].CopyFrom(next(_filled(value.message_type))[1])
        else:
            getattr(message, field.name)["digits"] = _scalar(value)
    elif field.message_type:
        inner = next(_filled(field.message_type))[1]
        if field.is_repeated:
            getattr(message, field.name).append(inner)
        else:
            getattr(message, field.name).CopyFrom(inner)
    elif field.is_repeated:
        getattr(message, field.name).extend([_scalar(field)] * 2)
    else:
        setattr(message, field.name, _scalar(field))


def _scalar(field: FieldDescriptor) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return field.name.encode() if field.type == FieldDescriptor.TYPE_BYTES else field.name
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case kind if kind in _FLOATS:
            return field.number + 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return max(field.enum_type.values_by_number)
    return 300 + field.number


def main() -> int:
    today, frozen = contract(), CONTRACT.read_text().splitlines() if CONTRACT.exists() else []
    if lost := sorted(set(frozen) - set(today)):
        print("changed or removed, but released nodes rely on it:", *lost, sep="\n  ", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    CONTRACT.write_text("\n".join(today) + "\n")
    recorded = json.loads(SAMPLES.read_text()) if SAMPLES.exists() else {}
    current = samples()
    for name, sample in current.items():  # a message with a new field: the old bytes stay, the new ones come beside them
        versions = recorded.setdefault(name, [])
        if sample not in versions:
            versions.append(sample)
    SAMPLES.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
