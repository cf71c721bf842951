from littoral.fleet.v1 import hardware_pb2 as _hardware_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TellTimeRequest(_message.Message):
    __slots__ = ("nonce",)
    NONCE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    def __init__(self, nonce: _Optional[bytes] = ...) -> None: ...

class TellTimeResponse(_message.Message):
    __slots__ = ("signed_time",)
    SIGNED_TIME_FIELD_NUMBER: _ClassVar[int]
    signed_time: bytes
    def __init__(self, signed_time: _Optional[bytes] = ...) -> None: ...

class ReturnRequest(_message.Message):
    __slots__ = ("signed_time", "certificate_request", "proof")
    SIGNED_TIME_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    signed_time: bytes
    certificate_request: bytes
    proof: bytes
    def __init__(self, signed_time: _Optional[bytes] = ..., certificate_request: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...

class ReturnResponse(_message.Message):
    __slots__ = ("certificate", "fleet_address")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    FLEET_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    fleet_address: str
    def __init__(self, certificate: _Optional[bytes] = ..., fleet_address: _Optional[str] = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("token", "certificate_request", "node_name", "protocol_version", "agent_version", "hardware", "hardware_ids")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_IDS_FIELD_NUMBER: _ClassVar[int]
    token: str
    certificate_request: bytes
    node_name: str
    protocol_version: int
    agent_version: str
    hardware: _hardware_pb2.HardwareProfile
    hardware_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, token: _Optional[str] = ..., certificate_request: _Optional[bytes] = ..., node_name: _Optional[str] = ..., protocol_version: _Optional[int] = ..., agent_version: _Optional[str] = ..., hardware: _Optional[_Union[_hardware_pb2.HardwareProfile, _Mapping]] = ..., hardware_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class EnrolResponse(_message.Message):
    __slots__ = ("node_id", "node_name", "certificate", "certificate_authority", "fleet_address", "signing_keys")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    FLEET_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEYS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    node_name: str
    certificate: bytes
    certificate_authority: bytes
    fleet_address: str
    signing_keys: _containers.RepeatedCompositeFieldContainer[SigningKey]
    def __init__(self, node_id: _Optional[str] = ..., node_name: _Optional[str] = ..., certificate: _Optional[bytes] = ..., certificate_authority: _Optional[bytes] = ..., fleet_address: _Optional[str] = ..., signing_keys: _Optional[_Iterable[_Union[SigningKey, _Mapping]]] = ...) -> None: ...

class SigningKey(_message.Message):
    __slots__ = ("key_id", "public_key")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    public_key: bytes
    def __init__(self, key_id: _Optional[str] = ..., public_key: _Optional[bytes] = ...) -> None: ...
