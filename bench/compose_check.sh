#!/usr/bin/env bash
# Run docker-compose.yml for real and check what it promises: five nodes, a restart, three nodes. Takes it all down again.
#   bench/compose_check.sh [--keep] [--no-build]
# Needs a container engine that DOCKER_HOST or the default names, and `docker compose` or docker-compose 1.29.
# It runs as a Compose project of its own, littoral-check, and touches no other. Exit code 0: every check held.
set -uo pipefail
cd "$(dirname "$0")/.."
export COMPOSE_PROJECT_NAME=littoral-check
keep=no build=yes failed=0 began=$SECONDS
for argument in "$@"; do
  case $argument in
    --keep) keep=yes ;;
    --no-build) build=no ;;
    *) sed -n '2,5p' "$0" >&2; exit 2 ;;
  esac
done
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi

say() { printf '%4d s  %s\n' $((SECONDS - began)) "$*"; }
check() { # TEXT COMMAND...: run it, print its last line, count where it fails
  local text=$1 printed; shift
  if printed=$("$@" 2>&1); then say "ok    $text${printed:+: $(tail -n 1 <<<"$printed")}"
  else say "FAIL  $text: $(tail -n 5 <<<"$printed")"; failed=$((failed + 1)); fi
}
within() { # SECONDS COMMAND...: try until it succeeds
  local limit=$((SECONDS + $1)) printed; shift
  until printed=$("$@" 2>&1); do
    [ "$SECONDS" -lt "$limit" ] || { printf '%s\n' "$printed"; return 1; }
    sleep 2
  done
  printf '%s\n' "$printed"
}
quietly() { # TEXT COMMAND...: a step without which nothing else makes sense
  local text=$1 log; shift; log=$(mktemp)
  if "$@" >"$log" 2>&1; then say "done  $text"; else say "FAIL  $text"; tail -n 25 "$log"; failed=$((failed + 1)); finish; fi
  rm -f "$log"
}
finish() {
  if [ "$keep" = no ]; then
    "${compose[@]}" --profile demo down --volumes --remove-orphans --timeout 20 >/dev/null 2>&1
    left=$(docker ps --all --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" | wc -l)
    if [ "$left" -eq 0 ]; then say "ok    down --volumes leaves no container"; else say "FAIL  $left containers are left"; failed=$((failed + 1)); fi
  fi
  if [ "$failed" -eq 0 ]; then say "every check held"; exit 0; fi
  say "$failed checks did not hold"; exit 1
}
trap 'say "interrupted"; failed=$((failed + 1)); finish' INT TERM

containers() { docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter "label=com.docker.compose.service=$1"; }
cloud() { docker exec "$(containers cloud)" littoral-cloud "$@"; }

healthy() { # SERVICE COUNT
  local ids id n=0
  mapfile -t ids < <(containers "$1")
  for id in "${ids[@]}"; do [ "$(docker inspect --format '{{.State.Health.Status}}' "$id")" = healthy ] && n=$((n + 1)); done
  echo "$n of $2 $1 healthy"; [ "$n" -eq "$2" ] && [ "${#ids[@]}" -eq "$2" ]
}
nodes() { # ENROLLED ONLINE: as the coordinator lists them
  cloud node list --format json | python3 -c '
import json, sys
nodes, enrolled, online = json.load(sys.stdin), int(sys.argv[1]), int(sys.argv[2])
names, up = {node["name"] for node in nodes}, [node for node in nodes if node["state"] == "online"]
print(f"{len(nodes)} enrolled, {len(names)} names, {len(up)} online, {len(nodes) - len(up)} offline")
sys.exit(not (len(nodes) == len(names) == enrolled and len(up) == online))' "$1" "$2"
}
identities() { local id; for id in $(containers edge-node); do docker exec "$id" python -c '
import json, os; print(json.load(open(os.environ["LITTORAL_NODE_DATA"] + "/node.json"))["node_id"])'; done | sort; }
distinct() { local n; n=$(identities | uniq | wc -l); echo "$n identities"; [ "$n" -eq "$1" ]; }
same_identities() { [ "$(identities)" = "$before" ] && echo "$(wc -l <<<"$before") identities unchanged"; }
kept_identities() { local id; for id in $(identities); do grep -qx "$id" <<<"$before" || return 1; done; echo "$(identities | wc -l) of those before"; }

answers() { # every node answers an inference request with its model
  local id ids right=0
  mapfile -t ids < <(containers edge-node)
  for id in "${ids[@]}"; do docker exec -i "$id" python - <bench/compose_infer.py || return 1; right=$((right + 1)); done
  echo "$right nodes answered"; [ "$right" -eq "$1" ]
}
without_root() {
  local id user
  for id in $(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"); do
    user=$(docker exec "$id" sh -c 'cat /proc/1/status' | awk '$1 == "Uid:" {print $2}')
    [ "$user" -ge 10000 ] || { echo "$id runs as $user"; return 1; }
  done
}
limited() {
  local id
  for id in $(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"); do
    docker inspect --format '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.Name}}' "$id" | awk '$1 == 0 || $2 == 0 {print; bad = 1} END {exit bad}' || return 1
  done
}
ended_well() {
  local state
  while read -r state; do [ "$state" = "exited 0" ] || { echo "$state"; return 1; }; done < <(
    for service in join first-release; do
      docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$(docker ps --all --quiet \
        --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter "label=com.docker.compose.service=$service")"
    done)
}
no_torch() { ! docker run --rm --entrypoint python "$1" -c 'import torch' 2>/dev/null; }
memory() { docker stats --no-stream --format '{{.Name}} {{.MemUsage}}' $(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME") | sort; }

say "$("${compose[@]}" version 2>/dev/null | head -n 1), engine $(docker version --format '{{.Server.Version}}')"
tools/make-secrets.sh
# The other services are of the same image as cloud.
[ "$build" = no ] || quietly "build" "${compose[@]}" build redis cloud edge-node
for image in redis cloud edge-node; do
  say "      littoral/$image: $(docker image inspect --format '{{.Size}}' "littoral/$image:${LITTORAL_TAG:-local}" | awk '{printf "%.0f MB", $1 / 1e6}')"
done
check "the inference-only image has no torch" no_torch "littoral/edge-node:${LITTORAL_TAG:-local}"

quietly "up --scale edge-node=5" "${compose[@]}" up -d --scale edge-node=5
for service in redis cloud; do check "healthy" within 90 healthy "$service" 1; done
check "healthy" within 120 healthy edge-node 5
check "node list" within 30 nodes 5 5
check "each node has an identity of its own" distinct 5
check "no process runs as root" without_root
check "every container has a memory and a cpu limit" limited
check "every node serves" within 300 answers 5
before=$(identities)
memory

quietly "restart" "${compose[@]}" restart --timeout 20
check "healthy after restart" within 120 healthy cloud 1
check "healthy after restart" within 120 healthy edge-node 5
check "the same identities" same_identities
check "none enrolled twice" within 60 nodes 5 5
check "every node serves after restart" within 60 answers 5

quietly "up --scale edge-node=3" "${compose[@]}" up -d --scale edge-node=3
check "healthy" within 60 healthy edge-node 3
check "two shown offline, none enrolled twice" within 60 nodes 5 3
check "identities" kept_identities
check "every node serves" answers 3
cloud node list

quietly "up --scale edge-node=12 edge-node" "${compose[@]}" up -d --scale edge-node=12 edge-node  # first-release does not run
check "nodes that come later are enrolled" within 120 nodes 14 12
check "and serve" within 120 answers 12
check "one-shot services ended well" within 60 ended_well
finish
