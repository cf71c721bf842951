PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROTOS := $(wildcard proto/littoral/*/v*/*.proto)

.DEFAULT_GOAL := help

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cloud,edge,edge-train,ncnn,coreml,objects,dev]'
	@touch $@

install: $(STAMP)  ## make .venv with everything in it, pinned by constraints.txt

constraints: ## renew constraints.txt: the newest set that pyproject.toml allows, from a fresh environment
	$(PYTHON) bench/renew_constraints.py

demo: $(STAMP)  ## the whole loop: teacher, students, four nodes, drift, federated rounds, a better model
	$(BIN)/littoral-cloud demo

# A worker for each core that this process may use; with one core, pytest's own process (tests/conftest.py).
SIDE_BY_SIDE := -n auto --dist worksteal

test: $(STAMP)  ## unit, integration (real Redis), end to end (real processes); without those that take long
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not slow"

test-slow: $(STAMP)  ## the others: kills in the middle of trainings, whole searches, the quick demo, the notebook; before a release
	$(BIN)/pytest $(SIDE_BY_SIDE) -m slow

build/provider/bin/python:
	$(PYTHON) -m venv build/provider
	build/provider/bin/pip install --quiet 'canaille[oidc,front]>=0.3.6'

check-provider: $(STAMP) build/provider/bin/python ## sign-in through a real OpenID provider (canaille), which it installs
	PROVIDER_PYTHON=build/provider/bin/python $(BIN)/pytest tests/integration/test_provider_sign_in.py

test-unit: $(STAMP)  ## the unit tests alone: nothing is trained for long, no agent runs; some use a Redis of their own; within two minutes
	$(BIN)/pytest $(SIDE_BY_SIDE) tests/unit tests/replay tests/golden

test-durations: $(STAMP)  ## the same, and the twenty slowest tests
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not slow" --durations=20

# The types take as long as all else together, so two at a time; older makes do not keep their lines apart.
LINT := lint-types lint-style lint-imports lint-pages proto-check

lint: $(STAMP)  ## style, types, imports, generated files
	@$(MAKE) --no-print-directory --jobs 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) $(LINT)

lint-types: $(STAMP)
	$(BIN)/mypy

lint-style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-imports: $(STAMP)
	$(BIN)/lint-imports

lint-pages: $(STAMP)
	$(BIN)/python docs/write_reference.py --check
	$(BIN)/python docs/write_benchmarks.py --check

proto: $(STAMP)  ## write the code for proto/ to littoral/
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)

wire-freeze: $(STAMP)  ## add new fields and RPCs to tests/old/wire/; refuses a change of an old one
	$(BIN)/python tools/wire_contract.py

proto-check: $(STAMP)
	@rm -rf build/proto && mkdir -p build/proto
	@$(BIN)/python -m grpc_tools.protoc -I proto --python_out=build/proto --pyi_out=build/proto --grpc_python_out=build/proto $(PROTOS)
	@for room in fleet inference; do diff -r -x __init__.py -x __pycache__ build/proto/littoral/$$room littoral/$$room || exit 1; done || { echo "generated code is stale: run 'make proto'" >&2; exit 1; }

bench: bench-drift bench-factory bench-search bench-baseline bench-edge bench-fleet bench-operators bench-gates bench-simulated-bad bench-simulated-good  ## every benchmark, to bench/results/ and docs/benchmarks.md

bench-gates: $(STAMP)  ## the gates of rollouts: simulated rollouts of good and bad releases to 10,000 nodes; two minutes
	$(BIN)/python -m bench.gates
	$(BIN)/python docs/write_benchmarks.py

bench-simulated-bad bench-simulated-good: bench-simulated-%: $(STAMP)  ## whole rollouts to 10,000 simulated nodes; ten minutes each
	$(BIN)/python -m bench.simulated $*
	$(BIN)/python docs/write_benchmarks.py

bench-drift: $(STAMP)  ## the drift threshold: false alarms and detection on MNIST
	$(BIN)/python -m bench.drift_threshold
	$(BIN)/python docs/write_benchmarks.py

FACTORY := teacher throughput methods pruning hinton deep-compression

bench-factory: $(STAMP)  ## the factory: every table, one row of each paper; within an hour on two idle cores, resumable
	$(BIN)/python -m bench.factory all $(FULL)
	$(BIN)/python docs/write_benchmarks.py

bench-factory-full:  ## every row of each paper, three seeds
	$(MAKE) --no-print-directory bench-factory FULL=--full

$(FACTORY:%=bench-factory-%): bench-factory-%: $(STAMP)
	$(BIN)/python -m bench.factory $* $(FULL)
	$(BIN)/python docs/write_benchmarks.py

SEARCH := kills workers hypervolume smallest

bench-search: $(SEARCH:%=bench-search-%)  ## the search: killed, shared, against random values; the smallest artifacts

$(SEARCH:%=bench-search-%): bench-search-%: $(STAMP)
	$(BIN)/python -m bench.search $*
	$(BIN)/python docs/write_benchmarks.py

bench-baseline: $(STAMP)  ## students beside logistic regression, on small data: row by row, resumable
	$(BIN)/python -m bench.baseline
	$(BIN)/python docs/write_benchmarks.py

EDGE := serving batching swap disk attacks crash agreement fit
MLSERVER := build/mlserver/.installed

bench-edge: $(EDGE:%=bench-edge-%)  ## the edge: serving beside MLServer, swaps under load, what is written to the disk; on idle cores

FLEET := steady fanout rollout coordinators recovery registered growth soak

bench-fleet: $(FLEET:%=bench-fleet-%)  ## the coordinator with 2,000 real sessions and 100,000 registered nodes; NODES=500 for others

$(FLEET:%=bench-fleet-%): bench-fleet-%: $(STAMP)
	$(BIN)/python -m bench.fleet $* $(if $(NODES),--nodes $(NODES))
	$(BIN)/python docs/write_benchmarks.py

OPERATORS := api page revocation checks

bench-operators: $(OPERATORS:%=bench-operators-%)  ## the operator API and the page: 200 requests a second, 10,000 nodes in Chromium, 500 nodes revoked

$(OPERATORS:%=bench-operators-%): bench-operators-%: $(STAMP)
	$(BIN)/python -m bench.operators $*
	$(BIN)/python docs/write_benchmarks.py

chaos: $(STAMP)  ## 300 faults against a fleet, drawn by a seed; what was lost. PARTS=1: 50 of them now, the next call goes on
	$(BIN)/python -m bench.chaos --faults 300 --seed 1 $(if $(PARTS),--parts $(PARTS)); code=$$?; $(BIN)/python docs/write_benchmarks.py; exit $$code

$(EDGE:%=bench-edge-%): bench-edge-%: $(STAMP)
	$(BIN)/python -m bench.edge $*
	$(BIN)/python docs/write_benchmarks.py

bench-edge-serving: $(MLSERVER)

$(MLSERVER):
	$(PYTHON) -m venv build/mlserver
	build/mlserver/bin/pip install --quiet --disable-pip-version-check mlserver==1.7.1 onnxruntime
	@touch $@

screenshots: $(STAMP)  ## a picture of each page to docs/pictures/; needs chromium
	PYTHONPATH=. $(BIN)/python tools/screenshots.py

bench-federated: $(STAMP)  ## the federated recipe on drifted shards; prints its figures
	$(BIN)/python bench/federated_recipe.py --judge test --degrees -45

clean:  ## remove what was made; keeps .venv
	rm -rf build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: screenshots help install constraints demo test test-slow test-unit test-durations lint $(LINT) proto bench bench-baseline bench-drift bench-gates bench-simulated-bad bench-simulated-good bench-federated bench-factory bench-factory-full $(FACTORY:%=bench-factory-%) bench-search $(SEARCH:%=bench-search-%) bench-edge $(EDGE:%=bench-edge-%) bench-fleet $(FLEET:%=bench-fleet-%) bench-operators $(OPERATORS:%=bench-operators-%) chaos check-provider clean
