"""The one outbound connection to the cloud: enrolment, the session, the certificate, blobs."""
