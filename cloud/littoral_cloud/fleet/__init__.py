"""The nodes of the fleet: enrolment, presence, desired and reported state, telemetry, drift, and the choice of an artifact."""
