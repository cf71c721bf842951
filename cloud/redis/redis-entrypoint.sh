#!/bin/sh
# Start Redis with the password of the secret file. Redis is told its SHA-256 only, and neither stands on a command line.
set -eu
secret=/run/secrets/redis_password
if [ ! -f "$secret" ] || [ ! -r "$secret" ] || [ ! -s "$secret" ]; then
  echo "redis: $secret is missing, empty or not readable by uid $(id -u): run tools/make-secrets.sh on the host, then up again" >&2
  exit 78
fi
password=$(cat "$secret")
hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
umask 077
{
  cat /etc/littoral/redis.conf
  echo "user default on #$hash ~* &* +@all"
} >/tmp/redis.conf
exec redis-server /tmp/redis.conf
