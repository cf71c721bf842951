# The agent. Targets: edge (infers with onnxruntime or ncnn; no torch in it) and edge-train (takes part in federated rounds too).
# Needs nothing of BuildKit. Build arguments and docker/wheels/: see cloud.Dockerfile.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build-edge
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/littoral
COPY pyproject.toml constraints.txt docker/requirements.py ./
COPY docker/wheels /wheels
RUN python requirements.py pyproject.toml edge ncnn > requirements.txt \
 && python -m pip --python /opt/littoral/bin/python install --find-links /wheels -c constraints.txt -r requirements.txt
COPY README.md LICENSE CHANGELOG.md ./
COPY littoral littoral
COPY cloud cloud
COPY edge_node edge_node
# The coordinator's package is in the distribution but has no business on a node; nor have the tests of what is installed.
RUN python -m pip --python /opt/littoral/bin/python install --find-links /wheels --no-deps . \
 && rm -rf /opt/littoral/lib/python3.11/site-packages/cloud /opt/littoral/bin/littoral-cloud \
 && find /opt/littoral/lib -type d -name tests -prune -exec rm -rf {} +

FROM ${BASE} AS node
# /run/littoral-join has the owner and mode that it has in cloud.Dockerfile, whichever of the two is first to mount the volume.
RUN groupadd --gid 10001 littoral \
 && useradd --uid 10001 --gid littoral --no-create-home --home-dir /var/lib/littoral --shell /usr/sbin/nologin littoral \
 && useradd --uid 10002 --gid littoral --no-create-home --home-dir /var/lib/littoral --shell /usr/sbin/nologin littoral-node \
 && install -d -o littoral-node -g littoral -m 0700 /var/lib/littoral \
 && install -d -o littoral -g littoral -m 2750 /run/littoral-join
COPY docker/node-entrypoint.sh docker/node-health.py /usr/local/bin/
ENV PATH=/opt/littoral/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LITTORAL_NODE_DATA=/var/lib/littoral
USER 10002:10001
WORKDIR /var/lib/littoral
ENTRYPOINT ["node-entrypoint.sh"]

FROM node AS edge
COPY --from=build-edge /opt/littoral /opt/littoral

FROM build-edge AS build-train
RUN python requirements.py pyproject.toml edge edge-train ncnn > requirements.txt \
 && python -m pip --python /opt/littoral/bin/python install --find-links /wheels -c constraints.txt -r requirements.txt

FROM node AS edge-train
COPY --from=build-train /opt/littoral /opt/littoral
ENV FLWR_TELEMETRY_ENABLED=0 \
    FLWR_HOME=/tmp/flwr
