#!/bin/sh
# Make ./secrets/redis_password.txt once. Engines mount a secret's file with the owner and mode that it has on the host, and the
# containers run as users of their own; so the file can be read by all (0444) and the folder around it by its owner only (0700):
# on the host nobody else gets to the file, in a container that it is mounted into any user can read it.
set -eu
cd "$(dirname "$0")/.."
mkdir -p secrets
chmod 0700 secrets
file=secrets/redis_password.txt
if [ -d "$file" ]; then
  # an engine that was asked to mount a file that was not there has made a folder of that name
  rmdir "$file" || { echo "$file is a folder that this user cannot remove: remove it, then run this again" >&2; exit 1; }
fi
if [ ! -s "$file" ]; then
  umask 077
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$file.part"
  mv "$file.part" "$file"
  echo "made $file"
else
  echo "kept $file"
fi
chmod 0444 "$file"
