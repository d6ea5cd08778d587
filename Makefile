# Two commands do it all: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true

ALONE := $(shell command -v flock >/dev/null && echo flock .venv.lock)  # of two makes at once, one waits and finds it done

.DEFAULT_GOAL := help
.PHONY: help run test lint ui serve verify bench clean lock

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 10

run: .venv/.installed  ## run the whole pipeline and say where the results are
	@python -m pipeline.run

test: .venv/.installed  ## run the tests (set MNIST_MIRROR to run those on real MNIST too)
	@python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

lint: .venv/.installed  ## check style and types
	@ruff check . && ruff format --check . && mypy src pipeline

ui: .venv/.installed  ## browse the runs in MLflow, on 127.0.0.1 (PORT=5000)
	@python -m pipeline.ui$(if $(PORT), --port $(PORT))

serve: .venv/.installed  ## serve the champion as MLflow's model server does, on 127.0.0.1 (PORT=8000)
	@python -m pipeline.serve$(if $(PORT), --port $(PORT))

verify: .venv/.installed  ## repeat the pipeline in a fresh clone and compare with dvc.lock (on a sample: python -m pipeline.verify --quick)
	@python -m pipeline.verify

bench: .venv-bench/.installed  ## measure numnist against PyTorch, JAX, scikit-learn and the notebook (half an hour)
	@.venv-bench/bin/python -m benchmarks.run

clean:  ## delete all that the pipeline made, and the environment; your files and the runs in mlflow.db stay
	rm -rf .venv .venv-bench data/processed data/test.npz runs reports sweep.csv launches .checkpoints .sample .dvc/cache .dvc/tmp
	@for made in data/raw/*/fetched.json; do \
	  rm -rf "$${made%/*}"/train-*-ubyte "$${made%/*}"/t10k-*-ubyte "$${made%/*}"/.partial-* "$$made"; done
	@rmdir data/raw/* data/raw data 2>/dev/null || true  # what people put there stays

lock:  ## renew requirements.lock from pyproject.toml
	@rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	@.venv-lock/bin/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --quiet --output-file requirements.lock
	@rm -rf .venv-lock

.venv/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("numnist needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; run: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	@$(ALONE) sh -ec 'if test $@ -nt $<; then exit; fi; \
	  echo "Installing the pinned packages into .venv: a few minutes, once."; \
	  $(PYTHON) -m venv .venv; \
	  $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $<; \
	  echo "$(CURDIR)" > "$$(echo .venv/lib/python*/site-packages)/numnist.pth"; touch $@'  # python -m pipeline... works anywhere

.venv-bench/.installed: requirements.lock benchmarks/requirements.txt
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@.venv-bench/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@
