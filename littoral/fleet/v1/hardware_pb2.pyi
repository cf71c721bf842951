from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HardwareProfile(_message.Message):
    __slots__ = ("machine", "cpu_model", "cpu_millis", "isa", "memory_bytes", "storage_free_bytes", "operating_system", "libc", "runtimes", "hardware_class", "threads", "accelerators", "energy_counters", "has_battery")
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
    THREADS_FIELD_NUMBER: _ClassVar[int]
    ACCELERATORS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_COUNTERS_FIELD_NUMBER: _ClassVar[int]
    HAS_BATTERY_FIELD_NUMBER: _ClassVar[int]
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
    threads: int
    accelerators: _containers.RepeatedCompositeFieldContainer[Accelerator]
    energy_counters: _containers.RepeatedCompositeFieldContainer[EnergyCounter]
    has_battery: bool
    def __init__(self, machine: _Optional[str] = ..., cpu_model: _Optional[str] = ..., cpu_millis: _Optional[int] = ..., isa: _Optional[_Iterable[str]] = ..., memory_bytes: _Optional[int] = ..., storage_free_bytes: _Optional[int] = ..., operating_system: _Optional[str] = ..., libc: _Optional[str] = ..., runtimes: _Optional[_Iterable[_Union[Runtime, _Mapping]]] = ..., hardware_class: _Optional[str] = ..., threads: _Optional[int] = ..., accelerators: _Optional[_Iterable[_Union[Accelerator, _Mapping]]] = ..., energy_counters: _Optional[_Iterable[_Union[EnergyCounter, _Mapping]]] = ..., has_battery: _Optional[bool] = ...) -> None: ...

class Accelerator(_message.Message):
    __slots__ = ("kind", "name", "device")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    device: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., device: _Optional[str] = ...) -> None: ...

class EnergyCounter(_message.Message):
    __slots__ = ("name", "readable", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    READABLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    readable: bool
    reason: str
    def __init__(self, name: _Optional[str] = ..., readable: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class Conditions(_message.Message):
    __slots__ = ("on_mains", "battery_percent", "celsius", "hot", "metered", "in_force")
    ON_MAINS_FIELD_NUMBER: _ClassVar[int]
    BATTERY_PERCENT_FIELD_NUMBER: _ClassVar[int]
    CELSIUS_FIELD_NUMBER: _ClassVar[int]
    HOT_FIELD_NUMBER: _ClassVar[int]
    METERED_FIELD_NUMBER: _ClassVar[int]
    IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    on_mains: bool
    battery_percent: float
    celsius: float
    hot: bool
    metered: bool
    in_force: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, on_mains: _Optional[bool] = ..., battery_percent: _Optional[float] = ..., celsius: _Optional[float] = ..., hot: _Optional[bool] = ..., metered: _Optional[bool] = ..., in_force: _Optional[_Iterable[str]] = ...) -> None: ...

class Runtime(_message.Message):
    __slots__ = ("name", "version", "highest_ir", "highest_opset", "devices")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_IR_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_OPSET_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    highest_ir: int
    highest_opset: int
    devices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., highest_ir: _Optional[int] = ..., highest_opset: _Optional[int] = ..., devices: _Optional[_Iterable[str]] = ...) -> None: ...
