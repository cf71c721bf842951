#!/bin/sh
# Enrol, then run. `enroll` on a folder that has an identity keeps it and asks for nothing, so a restart is the same node again.
# A word given to the container runs that command instead: docker compose exec edge-node node-entrypoint.sh doctor
set -eu
if [ $# -gt 0 ]; then
  exec littoral-node "$@"
fi
littoral-node enroll --join-file "${JOIN_FILE:-/run/littoral-join/line}" --name "${NODE_NAME:-node-$(hostname)}"
exec littoral-node run
