# make run and make test are all that is needed; each sets up what it needs. PYTHON names another interpreter.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHON VENV

# Further flags of the service (make run FLAGS="--log-level debug"), of pytest and of the benchmark.
FLAGS ?=
PYTEST ?=
# Of `make test`: processes that run tests at the same time, each with an engine of its own; 0 runs them in pytest's.
WORKERS ?= auto
# Another engine for the tests: the path of its dockerd, with what it needs beside it, and where it keeps images (containerd, classic).
ENGINE ?=
STORE ?=
export ASUPERVISOR_ENGINE := $(or $(ENGINE),$(ASUPERVISOR_ENGINE))
export ASUPERVISOR_STORE := $(or $(STORE),$(ASUPERVISOR_STORE))
BENCH ?=
# Where make bench-all writes, and further CRI servers beside which it measures a pod's life (--endpoint NAME=unix:///…).
RESULTS ?= build/benchmarks
PEERS ?=
# Of the simulator: seconds that it runs, and its first seed.
SECONDS ?= 60
FIRST ?= 1
ENDPOINT ?= unix:///var/run/asupervisor.sock

.PHONY: help run image demo test unit integration simulate lint types docs screenshots format proto release deb bench bench-all conformance clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 14

run: ## set up and run the service in the foreground, ready for crictl
	@.ci/setup run
	@exec examples/run.sh $(FLAGS)

image: ## make the image of examples/pod.yaml, from this machine's busybox, for the service that runs here
	@.ci/setup demo
	@$(BIN)/python examples/busybox_image.py asupervisor.example/busybox:1

demo: ## run a pod with the service, look at it, take everything down
	@.ci/setup demo
	@examples/demo.sh

test: ## set up and run all tests (as root: they start engines of their own)
	@.ci/setup test
	@[ "$$(id -u)" = 0 ] || { echo "make test: the integration tests start a Docker Engine: run it as root; make unit runs the others" >&2; exit 1; }
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile $(PYTEST)

unit: ## the tests that need no engine and no root
	@.ci/setup lint
	$(BIN)/python -m pytest tests/unit $(PYTEST)

integration: ## the tests against a real engine
	@.ci/setup test
	$(BIN)/python -m pytest tests/integration $(PYTEST)

simulate: ## the service's life from seeds, on a virtual clock, for so many seconds: make simulate SECONDS=600 FIRST=1
	@.ci/setup lint
	$(BIN)/python -m tests.simulate --wall $(SECONDS) --first $(FIRST)

lint: ## style, the layers of imports, and whether generated code is up to date
	@.ci/setup lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python proto/generate.py --check

types: ## strict type checks
	@.ci/setup lint
	$(BIN)/mypy

docs: ## build the documentation site into build/site; a broken link or anchor is an error
	@.ci/setup docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

screenshots: ## make the pictures in docs/images anew: of top, and of the status page (as root, with chromium)
	@.ci/setup test
	$(BIN)/python -m tests.harness.screenshots

format: ## put the code into its form
	@.ci/setup lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: ## generate the CRI's code from proto/
	@.ci/setup lint
	$(BIN)/python proto/generate.py

release: ## build the wheel into dist/, without a compiler
	@.ci/setup run
	$(BIN)/python -m pip wheel -q --no-deps --wheel-dir dist .

deb: ## build the package of this release of Debian into dist/, without a compiler; lintian finds no error in it
	@.ci/setup deb
	.ci/deb

bench: ## throughput of CRI sockets side by side: make bench BENCH="--endpoint name=unix:///…"
	@.ci/setup test
	$(BIN)/python -m benchmarks $(BENCH)

bench-all: ## make the figures of docs/benchmarks.md anew, as tables and JSON in RESULTS (as root): make bench-all RESULTS=DIR
	@.ci/setup test
	@mkdir -p $(RESULTS)
	$(BIN)/python -m benchmarks throughput --json $(RESULTS)/throughput.json > $(RESULTS)/throughput.md
	$(BIN)/python -m benchmarks pod-life $(PEERS) --json $(RESULTS)/pod-life.json --svg $(RESULTS)/pod-life.svg > $(RESULTS)/pod-life.md
	$(BIN)/python -m benchmarks crowd --json $(RESULTS)/crowd.json > $(RESULTS)/crowd.md

conformance: ## hold the CRI server at ENDPOINT against the CRI (as root, on its node)
	@.ci/setup test
	$(BIN)/python -m pytest tests/conformance --cri-endpoint $(ENDPOINT) $(PYTEST)

clean: ## remove what set-up and tests made here
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist src/*.egg-info
