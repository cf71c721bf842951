#!/usr/bin/env bash
# Install, run, hurt, upgrade and uninstall a node under a real systemd, as on a device. Leaves nothing behind.
#   bench/systemd_check.sh [PYTHON]
# Needs root, systemd (not as this machine's init), unshare and nsenter. A systemd of its own runs as process 1 of new namespaces;
# what it writes to /etc, /usr/local, /opt/littoral and /var/lib/littoral is in memory, and gone with it. PYTHON (default
# /usr/bin/python3) is what the node is made of: a system's own, which refuses pip. Exit code 0: every check held.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${1:-/usr/bin/python3} bin=$PWD/.venv/bin room=$(mktemp -d /var/tmp/littoral-systemd.XXXXXX) failed=0 began=$SECONDS
service=littoral-node.service
export PYTHONPATH=$PWD LITTORAL_DATA_DIR=$room/cloud

say() { printf '%4d s  %s\n' $((SECONDS - began)) "$*"; }
check() { # TEXT COMMAND...: run it, print its last line, count where it fails
  local text=$1 printed; shift
  if printed=$("$@" 2>&1); then say "ok    $text${printed:+: $(tail -n 1 <<<"$printed")}"
  else say "FAIL  $text: $(tail -n 8 <<<"$printed")"; failed=$((failed + 1)); fi
}
within() { # SECONDS COMMAND...: try until it succeeds
  local limit=$((SECONDS + $1)) printed; shift
  until printed=$("$@" 2>&1); do
    [ "$SECONDS" -lt "$limit" ] || { printf '%s\n' "$printed"; return 1; }
    sleep 0.5
  done
  printf '%s\n' "$printed"
}
finish() {
  [ -n "${manager:-}" ] && kill -9 "$manager" 2>/dev/null
  [ -n "${cloud:-}" ] && kill "$cloud" 2>/dev/null && wait "$cloud" 2>/dev/null
  rm -rf "$room"; rmdir /opt/littoral /var/lib/littoral 2>/dev/null
  for group in /sys/fs/cgroup/*/littoral-check /sys/fs/cgroup/littoral-check; do
    [ -d "$group" ] && find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
  done
  if [ "$failed" -eq 0 ]; then say "every check held"; exit 0; fi
  say "$failed checks did not hold"; exit 1
}
trap 'say "interrupted"; failed=$((failed + 1)); finish' INT TERM

# -- a systemd of its own --------------------------------------------------------------------------------------------------
mkdir -p "$room/units" /opt/littoral /var/lib/littoral
for target in sysinit basic multi-user network shutdown umount; do
  printf '[Unit]\nDefaultDependencies=no\n' >"$room/units/$target.target"
done
cat >"$room/start" <<INNER
#!/bin/sh
for group in /sys/fs/cgroup/*/; do
  [ -e "\$group/cgroup.procs" ] && mkdir -p "\$group/littoral-check" && echo \$\$ >"\$group/littoral-check/cgroup.procs"
done
exec unshare --fork --kill-child --pid --mount --uts --ipc --cgroup --mount-proc --propagation private sh -c '
for place in /run /opt/littoral /var/lib/littoral; do mount -t tmpfs -o mode=755 tmpfs \$place; done
mkdir -p /run/systemd/system /run/over/etc /run/over/etc-work /run/over/local /run/over/local-work
mount -t overlay -o lowerdir=/etc,upperdir=/run/over/etc,workdir=/run/over/etc-work overlay /etc
mount -t overlay -o lowerdir=/usr/local,upperdir=/run/over/local,workdir=/run/over/local-work overlay /usr/local
mount -t tmpfs tmpfs /etc/systemd/system
cp $room/units/* /run/systemd/system/
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/systemd/system \
  /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no'
INNER
chmod +x "$room/start"
"$room/start" >"$room/systemd.log" 2>&1 &
within 20 pgrep -f "systemd --system --unit=multi-user.target" >/dev/null || { say "FAIL  systemd does not start"; exit 1; }
manager=$(pgrep -f "^/lib/systemd/systemd --system --unit=multi-user.target" | head -n 1)
inside() { nsenter -t "$manager" -a env -u PYTHONPATH SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/systemd/system "$@"; }
property() { inside systemctl show --value --property "$1" "$service"; }
is() { local found; found=$(property "$1"); echo "$found"; [ "$found" = "$2" ]; }
check "systemd runs as process 1" within 20 inside systemctl is-system-running

# -- a coordinator, and wheels -----------------------------------------------------------------------------------------------
"$bin/littoral-cloud" serve --enrolment-port 0 --fleet-port 0 --api-port 0 --format json >"$room/ready" 2>"$room/cloud.log" &
cloud=$!
within 60 grep -q enrolment "$room/ready" || { say "FAIL  the coordinator does not start"; failed=1; finish; }
"$bin/pip" wheel --quiet --no-deps --wheel-dir "$room/wheels" . || { say "FAIL  no wheel"; failed=1; finish; }
wheel=$(ls "$room"/wheels/littoral-*.whl)
made() { # VERSION [PYTHON THAT BREAKS edge_node/littoral_node/agent.py]: another release of the same code
  "$bin/python" - "$wheel" "$room/littoral-$1-py3-none-any.whl" "$1" "${2:-}" <<'P'
import re, sys, zipfile
old, new, version, breaks = sys.argv[1:]
with zipfile.ZipFile(old) as source, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as target:
    was = re.search(r"littoral-([^-]+)-", old.rsplit("/", 1)[1])[1]
    for name in source.namelist():
        data = source.read(name)
        if name.endswith("RECORD"):
            data = b"\n".join(re.sub(rb",sha256=[^,]*,\d+$", b",,", line) for line in data.splitlines()) + b"\n"
        if name.endswith((".dist-info/METADATA", "littoral/__init__.py")):
            data = data.replace(was.encode(), version.encode(), 1)
        if name == "edge_node/littoral_node/agent.py" and breaks:
            data = data.replace(b"stop = asyncio.Event()", breaks.encode(), 1)
        target.writestr(name.replace(f"littoral-{was}.dist-info", f"littoral-{version}.dist-info"),
                        data.replace(f"littoral-{was}".encode(), f"littoral-{version}".encode()) if "RECORD" in name else data)
P
}
line=$("$bin/littoral-cloud" token create --name check)

# -- installed, out of the wheel, with a Python that refuses pip --------------------------------------------------------------
check "that Python refuses pip (PEP 668)" sh -c "! $python -m pip install --quiet littoral 2>/dev/null"
check "install" inside env PYTHONPATH="$wheel" LITTORAL_NODE_JOIN="$line" "$python" -m littoral_node.installing install \
  --from "$wheel" --name checked --constraint "$PWD/constraints.txt"
check "systemd-analyze verify has no complaint" inside sh -c "test -z \"\$(systemd-analyze verify /etc/systemd/system/$service 2>&1)\""
check "systemd-analyze security" inside sh -c "systemd-analyze security --offline=true /etc/systemd/system/$service | grep Overall"
check "active once it said READY" is ActiveState active
check "it starts with the machine" inside systemctl is-enabled "$service"
check "it says what it does" sh -c "nsenter -t $manager -a systemctl show --value --property StatusText $service | grep serves"
check "it runs as its own user" inside sh -c "ps -o user= -p $(property MainPID) | grep -q littoral && echo littoral"
check "no capability is left" inside sh -c "grep CapBnd /proc/$(property MainPID)/status | grep 0000000000000000"
check "it may write its folder alone" inside nsenter -t "$(inside systemctl show --value --property MainPID $service)" -m sh -c \
  'touch /var/lib/littoral/x && rm /var/lib/littoral/x && ! touch /opt/littoral/x 2>/dev/null && ! touch /etc/x 2>/dev/null && ! ls /root >/dev/null 2>&1 || ls -A /root | wc -l | grep -x 0'
check "it is known to its fleet" within 20 sh -c "$bin/littoral-cloud node list --format json | grep -q '\"checked\"'"

# -- a model, measured, rehearsed and served inside the sandbox ----------------------------------------------------------------
"$bin/python" -c "
import numpy as np; from PIL import Image; from littoral_cloud.data.sources import load_mnist
mnist = load_mnist(); np.savez('$room/few.npz', x=mnist.train_x[:2000], y=mnist.train_y[:2000])
Image.fromarray(mnist.test_x[0].reshape(28, 28)).save('$room/seven.png')"
check "a model is trained and rolled out" "$bin/littoral-cloud" train --data "$room/few.npz" --model digits --recipe tiny --rollout
check "the node measured it, tried it and serves it" within 120 sh -c \
  "nsenter -t $manager -a systemctl show --value --property StatusText $service | grep 'serves digits'"
check "littoral-node infer" inside /usr/local/bin/littoral-node infer "$room/seven.png"

# -- hurt ----------------------------------------------------------------------------------------------------------------------
pid=$(property MainPID)
inside kill -9 "$pid"
changed() { local now; now=$(property MainPID); [ "$now" != "$pid" ] && [ "$now" != 0 ] && [ "$(property ActiveState)" = active ] && echo "$now"; }
check "killed, it is started again" within 30 changed
check "and serves what it had" within 60 sh -c "nsenter -t $manager -a systemctl show --value --property StatusText $service | grep 'serves digits'"
pid=$(property MainPID)
inside kill -STOP "$pid"
check "hung, the watchdog ends it and it is started again" within 120 changed
for _ in 1 2 3 4 5 6 7 8; do pid=$(property MainPID); inside kill -9 "$pid"; within 30 changed >/dev/null; done
check "killed eight times in a row, it never gives up" is ActiveState active

# -- upgraded -------------------------------------------------------------------------------------------------------------------
made 0.1.1; made 0.1.2 "raise SystemExit(1)"
check "upgrade" inside /usr/local/bin/littoral-node upgrade --from "$room/littoral-0.1.1-py3-none-any.whl" --constraint "$PWD/constraints.txt"
check "the new release runs" inside sh -c "readlink /opt/littoral/current && systemctl is-active $service && /usr/local/bin/littoral-node --version | grep 0.1.1"
check "an upgrade that does not get ready is refused" sh -c "! nsenter -t $manager -a /usr/local/bin/littoral-node upgrade \
  --from $room/littoral-0.1.2-py3-none-any.whl --constraint $PWD/constraints.txt --ready-within 30"
check "and the one before runs" inside sh -c "systemctl is-active $service >/dev/null && /usr/local/bin/littoral-node --version | grep 0.1.1"
check "as does what it serves" within 60 inside /usr/local/bin/littoral-node infer "$room/seven.png"

# -- taken off -------------------------------------------------------------------------------------------------------------------
check "stopped, it is not failed" inside sh -c "systemctl stop $service && systemctl show --value --property Result $service | grep success; systemctl start $service"
check "uninstall asks what becomes of the data" sh -c "! nsenter -t $manager -a /usr/local/bin/littoral-node uninstall </dev/null"
check "uninstall --purge" inside /usr/local/bin/littoral-node uninstall --purge
check "nothing is left" inside sh -c \
  "! systemctl is-active --quiet $service && ! ls /etc/systemd/system/$service /usr/local/bin/littoral-node /opt/littoral/* /var/lib/littoral/* 2>/dev/null"
finish
