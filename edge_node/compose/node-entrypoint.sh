#!/bin/sh
# Enrol, then run. `enroll` on a folder that has an identity keeps it and asks for nothing, so a restart is the same node again.
# A word given to the container runs that command instead: docker compose exec edge-node node-entrypoint.sh doctor
set -eu
if [ $# -gt 0 ]; then
  exec littoral-node "$@"
fi
# Where its certificate has expired and the line that is there has, too, the node runs all the same: it serves what it has.
littoral-node enroll --join-file "${JOIN_FILE:-/run/littoral-join/line}" --name "${NODE_NAME:-node-$(hostname)}" ||
  [ -f "${LITTORAL_NODE_DATA:-/var/lib/littoral}/node.json" ]
exec littoral-node run
