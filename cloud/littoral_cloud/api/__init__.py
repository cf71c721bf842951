"""The gRPC services that nodes call: enrolment, the session, blobs, escalations."""
