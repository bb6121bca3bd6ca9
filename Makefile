# One command each; every one of them makes its own environment in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check lint types pyright format bench bench-gpu choose combinations cimnist fuzz coverage samples docs axe pictures dist lowest clean

demo: $(VENV)/.installed
	$(BIN)/fairfix auto sample_models/loh/model.pt sample_models/loh/val.csv \
		--test sample_models/loh/test.csv --metric spd --output build/demo.pt --force

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

check: $(VENV)/.dev lint types test

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

pyright: $(VENV)/.dev
	$(INSTALL) -e '.[types]'
	$(BIN)/pyright

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/costs.py
	$(BIN)/python benchmarks/late_layers.py

bench-gpu: $(VENV)/.dev
	$(BIN)/python benchmarks/gpu.py

choose: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.choose

combinations: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/input_combinations.py

cimnist: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/cimnist.py

fuzz: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --interrupt

coverage: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/coverage.py --repetitions 10000

samples: $(VENV)/.dev
	$(BIN)/python sample_models/build.py

# A copy is built, because pages and settings must lie in different folders.
docs: $(VENV)/.docs
	$(BIN)/python docs/scripts/methods_page.py > docs/methods.md
	$(BIN)/python -m fairfix.cli.reference > docs/cli.md
	rm -rf build/docs
	mkdir -p build/docs
	cp -R docs build/docs/docs
	mv build/docs/docs/mkdocs.yml build/docs
	rm -r build/docs/docs/scripts
	cd build/docs && ../../$(BIN)/zensical build --strict

# Needs Chromium and npm.
axe: $(VENV)/.dev
	npm install --silent --no-save --prefix build/axe axe-core@4
	AXE=$(CURDIR)/build/axe/node_modules/axe-core/axe.min.js OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest -rs tests/report/test_explorer.py -k axe

# Needs Chromium.
pictures: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m docs.scripts.pictures
	OMP_NUM_THREADS=1 $(BIN)/python -m docs.scripts.method_pictures

dist: $(VENV)/.dev
	$(BIN)/python -m build --outdir build/dist

# The oldest versions that pyproject.toml allows. torch is the tested build, since older ones are gigabytes.
lowest:
	rm -rf build/lowest
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install --quiet uv
	build/lowest/bin/uv pip compile --quiet --resolution lowest-direct --no-annotate --no-header \
		--no-emit-package torch --output-file build/lowest.txt pyproject.toml
	build/lowest/bin/python -m pip install --quiet $$(grep '^torch==' constraints.txt) --requirement build/lowest.txt \
		pytest jsonschema
	OMP_NUM_THREADS=1 build/lowest/bin/python -m pytest -o filterwarnings=ignore \
		tests/cli tests/_utils tests/data --deselect tests/cli/test_imports.py

# Other packages in current versions, but for torch, whose current build for pip has CUDA.
integrations:
	rm -rf build/integrations
	$(PYTHON) -m venv build/integrations
	build/integrations/bin/python -m pip install --quiet $$(grep '^torch==' constraints.txt)
	build/integrations/bin/python -m pip install --quiet $$(grep '^torch==' constraints.txt) \
		-e '.[sklearn,torchmetrics,lightning,huggingface,mlflow]' skorch fairlearn pytest jsonschema
	OMP_NUM_THREADS=1 build/integrations/bin/python -m pytest -rs -o filterwarnings=default tests/integrations \
		tests/workflows/test_other_audits.py \
		'tests/test_readme.py::test_every_block_runs[integrations.md]'

clean:
	rm -rf $(VENV) build

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	mkdir -p build
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(INSTALL) -e '.[dev]'
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(INSTALL) -e '.[docs]'
	touch $@
