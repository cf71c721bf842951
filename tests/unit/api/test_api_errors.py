"""Which gRPC status each error becomes."""

from __future__ import annotations

import grpc
import pytest

from littoral import errors
from littoral.errors import FleetError
from littoral_cloud.api.errors import OutOfRange, WrongOffset, details_of, status_of

CODES = {
    errors.FleetError: grpc.StatusCode.INTERNAL,
    errors.BadInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.BadManifest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.BadData: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Untrusted: grpc.StatusCode.PERMISSION_DENIED,
    errors.DigestMismatch: grpc.StatusCode.DATA_LOSS,
    errors.BadToken: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotAccepted: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.LostLease: grpc.StatusCode.ABORTED,
    errors.TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.NoSpace: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    WrongOffset: grpc.StatusCode.FAILED_PRECONDITION,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_every_error_has_its_status(kind: type[FleetError], code: grpc.StatusCode) -> None:
    assert status_of(kind("x")) is code


def test_details_carry_the_stable_code_the_message_and_the_way_out() -> None:
    assert (
        details_of(errors.BadToken("token: has expired", hint="make a new one"))
        == "bad-token: token: has expired (make a new one)"
    )
