# Redis 7 from Debian, without root. `appendonly yes`: the fleet's state survives a restart (docs/compose.md).
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /etc/redis \
 && groupadd --gid 10003 littoral-redis \
 && useradd --uid 10003 --gid 10003 --no-create-home --home-dir /data --shell /usr/sbin/nologin littoral-redis \
 && install -d -o littoral-redis -g littoral-redis -m 0700 /data
COPY docker/redis.conf /etc/littoral/redis.conf
COPY docker/redis-entrypoint.sh docker/redis-health.sh /usr/local/bin/
USER 10003:10003
WORKDIR /data
EXPOSE 6379
ENTRYPOINT ["redis-entrypoint.sh"]
