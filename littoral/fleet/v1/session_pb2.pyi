from littoral.fleet.v1 import hardware_pb2 as _hardware_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RefusalReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_REASON_UNSPECIFIED: _ClassVar[RefusalReason]
    REFUSAL_REASON_PROTOCOL_UNSUPPORTED: _ClassVar[RefusalReason]
    REFUSAL_REASON_NODE_UNKNOWN: _ClassVar[RefusalReason]
    REFUSAL_REASON_NODE_REVOKED: _ClassVar[RefusalReason]
    REFUSAL_REASON_SUPERSEDED: _ClassVar[RefusalReason]
    REFUSAL_REASON_UNAVAILABLE: _ClassVar[RefusalReason]
    REFUSAL_REASON_PROTOCOL_VIOLATION: _ClassVar[RefusalReason]
    REFUSAL_REASON_CERTIFICATE_EXPIRED: _ClassVar[RefusalReason]
    REFUSAL_REASON_NODE_WAITING: _ClassVar[RefusalReason]

class UpdateState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPDATE_STATE_UNSPECIFIED: _ClassVar[UpdateState]
    UPDATE_STATE_PENDING: _ClassVar[UpdateState]
    UPDATE_STATE_DOWNLOADING: _ClassVar[UpdateState]
    UPDATE_STATE_VERIFYING: _ClassVar[UpdateState]
    UPDATE_STATE_PROBATION: _ClassVar[UpdateState]
    UPDATE_STATE_SUCCEEDED: _ClassVar[UpdateState]
    UPDATE_STATE_FAILED: _ClassVar[UpdateState]
    UPDATE_STATE_ROLLED_BACK: _ClassVar[UpdateState]
    UPDATE_STATE_ABORTED: _ClassVar[UpdateState]
REFUSAL_REASON_UNSPECIFIED: RefusalReason
REFUSAL_REASON_PROTOCOL_UNSUPPORTED: RefusalReason
REFUSAL_REASON_NODE_UNKNOWN: RefusalReason
REFUSAL_REASON_NODE_REVOKED: RefusalReason
REFUSAL_REASON_SUPERSEDED: RefusalReason
REFUSAL_REASON_UNAVAILABLE: RefusalReason
REFUSAL_REASON_PROTOCOL_VIOLATION: RefusalReason
REFUSAL_REASON_CERTIFICATE_EXPIRED: RefusalReason
REFUSAL_REASON_NODE_WAITING: RefusalReason
UPDATE_STATE_UNSPECIFIED: UpdateState
UPDATE_STATE_PENDING: UpdateState
UPDATE_STATE_DOWNLOADING: UpdateState
UPDATE_STATE_VERIFYING: UpdateState
UPDATE_STATE_PROBATION: UpdateState
UPDATE_STATE_SUCCEEDED: UpdateState
UPDATE_STATE_FAILED: UpdateState
UPDATE_STATE_ROLLED_BACK: UpdateState
UPDATE_STATE_ABORTED: UpdateState

class RenewRequest(_message.Message):
    __slots__ = ("certificate_request",)
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    certificate_request: bytes
    def __init__(self, certificate_request: _Optional[bytes] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("certificate",)
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    def __init__(self, certificate: _Optional[bytes] = ...) -> None: ...

class ConnectRequest(_message.Message):
    __slots__ = ("hello", "reported", "telemetry", "measurement", "federated_reply", "heartbeat", "budget_change", "trust_report")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    MEASUREMENT_FIELD_NUMBER: _ClassVar[int]
    FEDERATED_REPLY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_CHANGE_FIELD_NUMBER: _ClassVar[int]
    TRUST_REPORT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    reported: ReportedState
    telemetry: TelemetryReport
    measurement: Measurement
    federated_reply: FederatedReply
    heartbeat: Heartbeat
    budget_change: BudgetChange
    trust_report: TrustReport
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., reported: _Optional[_Union[ReportedState, _Mapping]] = ..., telemetry: _Optional[_Union[TelemetryReport, _Mapping]] = ..., measurement: _Optional[_Union[Measurement, _Mapping]] = ..., federated_reply: _Optional[_Union[FederatedReply, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., budget_change: _Optional[_Union[BudgetChange, _Mapping]] = ..., trust_report: _Optional[_Union[TrustReport, _Mapping]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("welcome", "refusal", "desired", "telemetry_ack", "heartbeat", "trust_anchors")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_ACK_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    TRUST_ANCHORS_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    refusal: Refusal
    desired: DesiredState
    telemetry_ack: TelemetryAck
    heartbeat: Heartbeat
    trust_anchors: TrustAnchors
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., desired: _Optional[_Union[DesiredState, _Mapping]] = ..., telemetry_ack: _Optional[_Union[TelemetryAck, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., trust_anchors: _Optional[_Union[TrustAnchors, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "agent_version", "features", "hardware", "boot_id", "budgets", "labelled_examples", "conditions", "limits", "update_window", "time_zone", "time_nonce", "connection")
    class BudgetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Budget
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Budget, _Mapping]] = ...) -> None: ...
    class LabelledExamplesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    LABELLED_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_WINDOW_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    TIME_NONCE_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    agent_version: str
    features: _containers.RepeatedScalarFieldContainer[str]
    hardware: _hardware_pb2.HardwareProfile
    boot_id: str
    budgets: _containers.MessageMap[str, Budget]
    labelled_examples: _containers.ScalarMap[str, int]
    conditions: _hardware_pb2.Conditions
    limits: NodeLimits
    update_window: str
    time_zone: str
    time_nonce: bytes
    connection: int
    def __init__(self, protocol_version: _Optional[int] = ..., agent_version: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., hardware: _Optional[_Union[_hardware_pb2.HardwareProfile, _Mapping]] = ..., boot_id: _Optional[str] = ..., budgets: _Optional[_Mapping[str, Budget]] = ..., labelled_examples: _Optional[_Mapping[str, int]] = ..., conditions: _Optional[_Union[_hardware_pb2.Conditions, _Mapping]] = ..., limits: _Optional[_Union[NodeLimits, _Mapping]] = ..., update_window: _Optional[str] = ..., time_zone: _Optional[str] = ..., time_nonce: _Optional[bytes] = ..., connection: _Optional[int] = ...) -> None: ...

class NodeLimits(_message.Message):
    __slots__ = ("memory_bytes", "disk_bytes", "requests")
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    memory_bytes: int
    disk_bytes: int
    requests: int
    def __init__(self, memory_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., requests: _Optional[int] = ...) -> None: ...

class Quota(_message.Message):
    __slots__ = ("fraction", "disk_bytes")
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    fraction: float
    disk_bytes: int
    def __init__(self, fraction: _Optional[float] = ..., disk_bytes: _Optional[int] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("memory_bytes", "disk_bytes")
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    memory_bytes: int
    disk_bytes: int
    def __init__(self, memory_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ...) -> None: ...

class BudgetChange(_message.Message):
    __slots__ = ("budgets", "conditions", "labelled_examples")
    class BudgetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Budget
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Budget, _Mapping]] = ...) -> None: ...
    class LabelledExamplesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    LABELLED_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    budgets: _containers.MessageMap[str, Budget]
    conditions: _hardware_pb2.Conditions
    labelled_examples: _containers.ScalarMap[str, int]
    def __init__(self, budgets: _Optional[_Mapping[str, Budget]] = ..., conditions: _Optional[_Union[_hardware_pb2.Conditions, _Mapping]] = ..., labelled_examples: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("latency_ms", "artifact_bytes", "peak_rss_bytes", "energy_mj", "runtimes", "worst_class", "quota")
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_BYTES_FIELD_NUMBER: _ClassVar[int]
    PEAK_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENERGY_MJ_FIELD_NUMBER: _ClassVar[int]
    RUNTIMES_FIELD_NUMBER: _ClassVar[int]
    WORST_CLASS_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    latency_ms: float
    artifact_bytes: int
    peak_rss_bytes: int
    energy_mj: float
    runtimes: _containers.RepeatedScalarFieldContainer[str]
    worst_class: float
    quota: Quota
    def __init__(self, latency_ms: _Optional[float] = ..., artifact_bytes: _Optional[int] = ..., peak_rss_bytes: _Optional[int] = ..., energy_mj: _Optional[float] = ..., runtimes: _Optional[_Iterable[str]] = ..., worst_class: _Optional[float] = ..., quota: _Optional[_Union[Quota, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("node_id", "server_version", "heartbeat_interval_s", "telemetry_interval_s", "reconnect_spread_s", "fleet_addresses", "enrolment_addresses", "signed_time", "connection")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_SPREAD_S_FIELD_NUMBER: _ClassVar[int]
    FLEET_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    ENROLMENT_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    SIGNED_TIME_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    server_version: str
    heartbeat_interval_s: float
    telemetry_interval_s: float
    reconnect_spread_s: float
    fleet_addresses: _containers.RepeatedScalarFieldContainer[str]
    enrolment_addresses: _containers.RepeatedScalarFieldContainer[str]
    signed_time: bytes
    connection: int
    def __init__(self, node_id: _Optional[str] = ..., server_version: _Optional[str] = ..., heartbeat_interval_s: _Optional[float] = ..., telemetry_interval_s: _Optional[float] = ..., reconnect_spread_s: _Optional[float] = ..., fleet_addresses: _Optional[_Iterable[str]] = ..., enrolment_addresses: _Optional[_Iterable[str]] = ..., signed_time: _Optional[bytes] = ..., connection: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "detail", "retry_after_s", "protocol_min", "protocol_max")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MIN_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAX_FIELD_NUMBER: _ClassVar[int]
    reason: RefusalReason
    detail: str
    retry_after_s: float
    protocol_min: int
    protocol_max: int
    def __init__(self, reason: _Optional[_Union[RefusalReason, str]] = ..., detail: _Optional[str] = ..., retry_after_s: _Optional[float] = ..., protocol_min: _Optional[int] = ..., protocol_max: _Optional[int] = ...) -> None: ...

class TrustAnchors(_message.Message):
    __slots__ = ("number", "authorities", "introductions", "retired", "signing_keys", "retired_keys")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AUTHORITIES_FIELD_NUMBER: _ClassVar[int]
    INTRODUCTIONS_FIELD_NUMBER: _ClassVar[int]
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEYS_FIELD_NUMBER: _ClassVar[int]
    RETIRED_KEYS_FIELD_NUMBER: _ClassVar[int]
    number: int
    authorities: _containers.RepeatedScalarFieldContainer[bytes]
    introductions: _containers.RepeatedScalarFieldContainer[bytes]
    retired: _containers.RepeatedScalarFieldContainer[str]
    signing_keys: _containers.RepeatedScalarFieldContainer[bytes]
    retired_keys: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, number: _Optional[int] = ..., authorities: _Optional[_Iterable[bytes]] = ..., introductions: _Optional[_Iterable[bytes]] = ..., retired: _Optional[_Iterable[str]] = ..., signing_keys: _Optional[_Iterable[bytes]] = ..., retired_keys: _Optional[_Iterable[bytes]] = ...) -> None: ...

class TrustReport(_message.Message):
    __slots__ = ("number", "detail")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    number: int
    detail: str
    def __init__(self, number: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class DesiredState(_message.Message):
    __slots__ = ("generation", "models", "benchmarks", "federated")
    class ModelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: DesiredModel
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[DesiredModel, _Mapping]] = ...) -> None: ...
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    BENCHMARKS_FIELD_NUMBER: _ClassVar[int]
    FEDERATED_FIELD_NUMBER: _ClassVar[int]
    generation: int
    models: _containers.MessageMap[str, DesiredModel]
    benchmarks: _containers.RepeatedScalarFieldContainer[str]
    federated: FederatedTask
    def __init__(self, generation: _Optional[int] = ..., models: _Optional[_Mapping[str, DesiredModel]] = ..., benchmarks: _Optional[_Iterable[str]] = ..., federated: _Optional[_Union[FederatedTask, _Mapping]] = ...) -> None: ...

class DesiredModel(_message.Message):
    __slots__ = ("manifest_digest", "rollout_id", "probation", "generation", "defer_s")
    MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_ID_FIELD_NUMBER: _ClassVar[int]
    PROBATION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DEFER_S_FIELD_NUMBER: _ClassVar[int]
    manifest_digest: str
    rollout_id: str
    probation: ProbationPolicy
    generation: int
    defer_s: float
    def __init__(self, manifest_digest: _Optional[str] = ..., rollout_id: _Optional[str] = ..., probation: _Optional[_Union[ProbationPolicy, _Mapping]] = ..., generation: _Optional[int] = ..., defer_s: _Optional[float] = ...) -> None: ...

class ProbationPolicy(_message.Message):
    __slots__ = ("duration_s", "max_accuracy_drop", "max_failure_rate", "shadow_s", "compare", "evidence_s", "error")
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    MAX_ACCURACY_DROP_FIELD_NUMBER: _ClassVar[int]
    MAX_FAILURE_RATE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_S_FIELD_NUMBER: _ClassVar[int]
    COMPARE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_S_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    duration_s: float
    max_accuracy_drop: float
    max_failure_rate: float
    shadow_s: float
    compare: int
    evidence_s: float
    error: float
    def __init__(self, duration_s: _Optional[float] = ..., max_accuracy_drop: _Optional[float] = ..., max_failure_rate: _Optional[float] = ..., shadow_s: _Optional[float] = ..., compare: _Optional[int] = ..., evidence_s: _Optional[float] = ..., error: _Optional[float] = ...) -> None: ...

class ReportedState(_message.Message):
    __slots__ = ("generation", "observed_generation", "models", "problem")
    class ModelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ReportedModel
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ReportedModel, _Mapping]] = ...) -> None: ...
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    generation: int
    observed_generation: int
    models: _containers.MessageMap[str, ReportedModel]
    problem: str
    def __init__(self, generation: _Optional[int] = ..., observed_generation: _Optional[int] = ..., models: _Optional[_Mapping[str, ReportedModel]] = ..., problem: _Optional[str] = ...) -> None: ...

class ReportedModel(_message.Message):
    __slots__ = ("state", "desired_generation", "target_manifest_digest", "serving_manifest_digest", "previous_manifest_digest", "reason", "detail", "probation", "crashes", "hangs", "incident", "usage", "evidence", "deferral")
    STATE_FIELD_NUMBER: _ClassVar[int]
    DESIRED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SERVING_MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    PROBATION_FIELD_NUMBER: _ClassVar[int]
    CRASHES_FIELD_NUMBER: _ClassVar[int]
    HANGS_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    DEFERRAL_FIELD_NUMBER: _ClassVar[int]
    state: UpdateState
    desired_generation: int
    target_manifest_digest: str
    serving_manifest_digest: str
    previous_manifest_digest: str
    reason: str
    detail: str
    probation: ProbationResult
    crashes: int
    hangs: int
    incident: str
    usage: Usage
    evidence: TrialEvidence
    deferral: Deferral
    def __init__(self, state: _Optional[_Union[UpdateState, str]] = ..., desired_generation: _Optional[int] = ..., target_manifest_digest: _Optional[str] = ..., serving_manifest_digest: _Optional[str] = ..., previous_manifest_digest: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., probation: _Optional[_Union[ProbationResult, _Mapping]] = ..., crashes: _Optional[int] = ..., hangs: _Optional[int] = ..., incident: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., evidence: _Optional[_Union[TrialEvidence, _Mapping]] = ..., deferral: _Optional[_Union[Deferral, _Mapping]] = ...) -> None: ...

class Deferral(_message.Message):
    __slots__ = ("reason", "until_unix_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNTIL_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    until_unix_ms: int
    def __init__(self, reason: _Optional[str] = ..., until_unix_ms: _Optional[int] = ...) -> None: ...

class TrialEvidence(_message.Message):
    __slots__ = ("requests", "failed_requests", "requests_before", "failed_before", "latency", "latency_before", "examples", "worse", "better", "class_examples", "class_worse", "class_better", "compared", "agreed", "shadowed", "shadow_agreed", "shadow_failed")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    FAILED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    LATENCY_BEFORE_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    WORSE_FIELD_NUMBER: _ClassVar[int]
    BETTER_FIELD_NUMBER: _ClassVar[int]
    CLASS_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    CLASS_WORSE_FIELD_NUMBER: _ClassVar[int]
    CLASS_BETTER_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    AGREED_FIELD_NUMBER: _ClassVar[int]
    SHADOWED_FIELD_NUMBER: _ClassVar[int]
    SHADOW_AGREED_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FAILED_FIELD_NUMBER: _ClassVar[int]
    requests: int
    failed_requests: int
    requests_before: int
    failed_before: int
    latency: LatencyBins
    latency_before: LatencyBins
    examples: int
    worse: int
    better: int
    class_examples: _containers.RepeatedScalarFieldContainer[int]
    class_worse: _containers.RepeatedScalarFieldContainer[int]
    class_better: _containers.RepeatedScalarFieldContainer[int]
    compared: int
    agreed: int
    shadowed: int
    shadow_agreed: int
    shadow_failed: int
    def __init__(self, requests: _Optional[int] = ..., failed_requests: _Optional[int] = ..., requests_before: _Optional[int] = ..., failed_before: _Optional[int] = ..., latency: _Optional[_Union[LatencyBins, _Mapping]] = ..., latency_before: _Optional[_Union[LatencyBins, _Mapping]] = ..., examples: _Optional[int] = ..., worse: _Optional[int] = ..., better: _Optional[int] = ..., class_examples: _Optional[_Iterable[int]] = ..., class_worse: _Optional[_Iterable[int]] = ..., class_better: _Optional[_Iterable[int]] = ..., compared: _Optional[int] = ..., agreed: _Optional[int] = ..., shadowed: _Optional[int] = ..., shadow_agreed: _Optional[int] = ..., shadow_failed: _Optional[int] = ...) -> None: ...

class LatencyBins(_message.Message):
    __slots__ = ("first", "counts")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    first: int
    counts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, first: _Optional[int] = ..., counts: _Optional[_Iterable[int]] = ...) -> None: ...

class ProbationResult(_message.Message):
    __slots__ = ("accuracy", "previous_accuracy", "examples", "requests", "failed_requests")
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    accuracy: float
    previous_accuracy: float
    examples: int
    requests: int
    failed_requests: int
    def __init__(self, accuracy: _Optional[float] = ..., previous_accuracy: _Optional[float] = ..., examples: _Optional[int] = ..., requests: _Optional[int] = ..., failed_requests: _Optional[int] = ...) -> None: ...

class TelemetryReport(_message.Message):
    __slots__ = ("boot_id", "sequence", "window_start_unix_ms", "window_end_unix_ms", "model_name", "manifest_digest", "requests", "failed_requests", "latency_counts", "class_counts", "inputs", "rss_bytes", "cpu_seconds", "offload_asked", "offload_answered")
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_COUNTS_FIELD_NUMBER: _ClassVar[int]
    CLASS_COUNTS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    OFFLOAD_ASKED_FIELD_NUMBER: _ClassVar[int]
    OFFLOAD_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    boot_id: str
    sequence: int
    window_start_unix_ms: int
    window_end_unix_ms: int
    model_name: str
    manifest_digest: str
    requests: int
    failed_requests: int
    latency_counts: _containers.RepeatedScalarFieldContainer[int]
    class_counts: _containers.RepeatedScalarFieldContainer[int]
    inputs: InputSketch
    rss_bytes: int
    cpu_seconds: float
    offload_asked: int
    offload_answered: int
    def __init__(self, boot_id: _Optional[str] = ..., sequence: _Optional[int] = ..., window_start_unix_ms: _Optional[int] = ..., window_end_unix_ms: _Optional[int] = ..., model_name: _Optional[str] = ..., manifest_digest: _Optional[str] = ..., requests: _Optional[int] = ..., failed_requests: _Optional[int] = ..., latency_counts: _Optional[_Iterable[int]] = ..., class_counts: _Optional[_Iterable[int]] = ..., inputs: _Optional[_Union[InputSketch, _Mapping]] = ..., rss_bytes: _Optional[int] = ..., cpu_seconds: _Optional[float] = ..., offload_asked: _Optional[int] = ..., offload_answered: _Optional[int] = ...) -> None: ...

class InputSketch(_message.Message):
    __slots__ = ("sketch_id", "features", "bins", "counts", "examples")
    SKETCH_ID_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    BINS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    sketch_id: str
    features: int
    bins: int
    counts: _containers.RepeatedScalarFieldContainer[int]
    examples: int
    def __init__(self, sketch_id: _Optional[str] = ..., features: _Optional[int] = ..., bins: _Optional[int] = ..., counts: _Optional[_Iterable[int]] = ..., examples: _Optional[int] = ...) -> None: ...

class TelemetryAck(_message.Message):
    __slots__ = ("sequence", "boot_id")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    boot_id: str
    def __init__(self, sequence: _Optional[int] = ..., boot_id: _Optional[str] = ...) -> None: ...

class Measurement(_message.Message):
    __slots__ = ("manifest_digest", "failure", "detail", "p50_ms", "p95_ms", "p99_ms", "peak_rss_bytes", "start_ms", "samples", "load_average", "runtime_version", "hardware_class", "energy_mj", "energy_source")
    MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    P50_MS_FIELD_NUMBER: _ClassVar[int]
    P95_MS_FIELD_NUMBER: _ClassVar[int]
    P99_MS_FIELD_NUMBER: _ClassVar[int]
    PEAK_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    LOAD_AVERAGE_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_VERSION_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_CLASS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_MJ_FIELD_NUMBER: _ClassVar[int]
    ENERGY_SOURCE_FIELD_NUMBER: _ClassVar[int]
    manifest_digest: str
    failure: str
    detail: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    peak_rss_bytes: int
    start_ms: float
    samples: int
    load_average: float
    runtime_version: str
    hardware_class: str
    energy_mj: float
    energy_source: str
    def __init__(self, manifest_digest: _Optional[str] = ..., failure: _Optional[str] = ..., detail: _Optional[str] = ..., p50_ms: _Optional[float] = ..., p95_ms: _Optional[float] = ..., p99_ms: _Optional[float] = ..., peak_rss_bytes: _Optional[int] = ..., start_ms: _Optional[float] = ..., samples: _Optional[int] = ..., load_average: _Optional[float] = ..., runtime_version: _Optional[str] = ..., hardware_class: _Optional[str] = ..., energy_mj: _Optional[float] = ..., energy_source: _Optional[str] = ...) -> None: ...

class FederatedTask(_message.Message):
    __slots__ = ("run_id", "message_id", "message_digest", "message_bytes", "round")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    message_id: str
    message_digest: str
    message_bytes: int
    round: int
    def __init__(self, run_id: _Optional[str] = ..., message_id: _Optional[str] = ..., message_digest: _Optional[str] = ..., message_bytes: _Optional[int] = ..., round: _Optional[int] = ...) -> None: ...

class FederatedReply(_message.Message):
    __slots__ = ("run_id", "message_id", "reply_digest", "failure", "detail")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    REPLY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    message_id: str
    reply_digest: str
    failure: str
    detail: str
    def __init__(self, run_id: _Optional[str] = ..., message_id: _Optional[str] = ..., reply_digest: _Optional[str] = ..., failure: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
