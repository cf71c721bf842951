from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class EscalateRequest(_message.Message):
    __slots__ = ("model_name", "manifest_digest", "inputs", "datatype", "shape", "logits", "threshold")
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    model_name: str
    manifest_digest: str
    inputs: bytes
    datatype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    logits: _containers.RepeatedScalarFieldContainer[float]
    threshold: float
    def __init__(self, model_name: _Optional[str] = ..., manifest_digest: _Optional[str] = ..., inputs: _Optional[bytes] = ..., datatype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., logits: _Optional[_Iterable[float]] = ..., threshold: _Optional[float] = ...) -> None: ...

class EscalateResponse(_message.Message):
    __slots__ = ("logits", "teacher_name", "teacher_digest")
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    TEACHER_NAME_FIELD_NUMBER: _ClassVar[int]
    TEACHER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    logits: _containers.RepeatedScalarFieldContainer[float]
    teacher_name: str
    teacher_digest: str
    def __init__(self, logits: _Optional[_Iterable[float]] = ..., teacher_name: _Optional[str] = ..., teacher_digest: _Optional[str] = ...) -> None: ...
