from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HardwareProfile(_message.Message):
    __slots__ = ("machine", "cpu_model", "cpu_millis", "isa", "memory_bytes", "storage_free_bytes", "operating_system", "libc", "runtimes", "hardware_class")
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    CPU_MODEL_FIELD_NUMBER: _ClassVar[int]
    CPU_MILLIS_FIELD_NUMBER: _ClassVar[int]
    ISA_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORAGE_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OPERATING_SYSTEM_FIELD_NUMBER: _ClassVar[int]
    LIBC_FIELD_NUMBER: _ClassVar[int]
    RUNTIMES_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_CLASS_FIELD_NUMBER: _ClassVar[int]
    machine: str
    cpu_model: str
    cpu_millis: int
    isa: _containers.RepeatedScalarFieldContainer[str]
    memory_bytes: int
    storage_free_bytes: int
    operating_system: str
    libc: str
    runtimes: _containers.RepeatedCompositeFieldContainer[Runtime]
    hardware_class: str
    def __init__(self, machine: _Optional[str] = ..., cpu_model: _Optional[str] = ..., cpu_millis: _Optional[int] = ..., isa: _Optional[_Iterable[str]] = ..., memory_bytes: _Optional[int] = ..., storage_free_bytes: _Optional[int] = ..., operating_system: _Optional[str] = ..., libc: _Optional[str] = ..., runtimes: _Optional[_Iterable[_Union[Runtime, _Mapping]]] = ..., hardware_class: _Optional[str] = ...) -> None: ...

class Runtime(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...
