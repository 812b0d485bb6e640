# Every target makes its own .venv first. PYTHON chooses the interpreter, 3.11 or later.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint coverage bench bench-peers soak docs clean

demo: $(READY)
	root=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))') && \
	$(BIN)/durable run fan_out_fan_in --input "{\"root\": \"$$root\", \"pattern\": \"**/*.py\"}"

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal
	$(MAKE) lint

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(READY)
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n 2 --timeout 600
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

# BENCH chooses subjects and options: make bench BENCH="hello5 chain", BENCH=--write, BENCH=--help.
bench: $(READY)
	$(BIN)/python -m tests.benchmarks $(BENCH)

# Beside DBOS, Restate and durabletask, whose packages it installs in .bench-peers. BENCH=--write, BENCH=--help.
bench-peers: $(READY)
	$(BIN)/python -m tests.benchmarks.peers $(BENCH)

soak: $(READY)
	$(BIN)/python -m pytest -m soak --timeout 0

# Into site/; open site/index.html. A warning fails the build, and so does anything loaded from another host.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean --quiet

clean:
	rm -rf .venv .bench-peers site

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "durablecli needs Python 3.11 or later: make PYTHON=python3.12")'
	@# Debian and its kin ship Python without what makes a venv.
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -q && apt-get install -qy python3-venv; \
	else echo "Python's venv is missing: sudo apt-get install python3-venv" >&2; exit 1; fi
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"
	$(BIN)/python -m pip install -q -e . --group dev
	@touch $@
