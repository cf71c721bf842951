# The coordinator and every littoral-cloud command; MNIST and the agent are in it for the demo.
# Needs nothing of BuildKit. Build arguments:
#   PIP_INDEX_URL, PIP_EXTRA_INDEX_URL  other package indexes, for example one with CPU-only wheels of torch
# Wheels in docker/wheels/ win over the index where their version is the same or newer (2.13.0+cpu is newer than 2.13.0).
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/littoral
COPY pyproject.toml constraints.txt docker/requirements.py ./
COPY docker/wheels /wheels
RUN python requirements.py pyproject.toml cloud edge edge-train > requirements.txt \
 && python -m pip --python /opt/littoral/bin/python install --find-links /wheels -c constraints.txt -r requirements.txt
COPY README.md LICENSE CHANGELOG.md ./
COPY littoral littoral
COPY cloud cloud
COPY edge_node edge_node
RUN python -m pip --python /opt/littoral/bin/python install --find-links /wheels --no-deps .

FROM ${BASE} AS cloud
# /run/littoral-join is made here with its owner, because a named volume takes both from the image that is first to mount it;
# it is setgid so that what the one writes belongs to the group of those who read it.
RUN groupadd --gid 10001 littoral \
 && useradd --uid 10001 --gid littoral --no-create-home --home-dir /var/lib/littoral --shell /usr/sbin/nologin littoral \
 && install -d -o littoral -g littoral -m 0700 /var/lib/littoral /var/lib/littoral-demo \
 && install -d -o littoral -g littoral -m 2750 /run/littoral-join
COPY --from=build /opt/littoral /opt/littoral
COPY data/mnist /usr/share/littoral/data/mnist
COPY docker/join.py docker/first_release.py /usr/local/bin/
ENV PATH=/opt/littoral/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FLWR_TELEMETRY_ENABLED=0 \
    FLWR_HOME=/tmp/flwr \
    MNIST=/usr/share/littoral/data/mnist \
    LITTORAL_DATA_DIR=/var/lib/littoral
USER 10001:10001
# data/mnist is looked for below the working folder
WORKDIR /usr/share/littoral
EXPOSE 7443 7444
ENTRYPOINT ["littoral-cloud"]
CMD ["serve", "--host", "0.0.0.0"]
