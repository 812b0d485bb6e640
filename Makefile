# Every target makes its own .venv first. PYTHON chooses the interpreter, 3.11 or later.

PYTHON ?= python3
BIN := .venv/bin
NODE_PROJECT := tests/sdk/javascript
READY := .venv/.ready

# Bytecode is kept, whatever the shell says: the tests start many processes, which would compile everything again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test browser network node lint coverage bench bench-peers soak docs clean

demo: $(READY)
	root=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))') && \
	$(BIN)/durable run fan_out_fan_in --input "{\"root\": \"$$root\", \"pattern\": \"**/*.py\"}"

test: $(READY) browser network node
	$(BIN)/python -m pytest -n 3 --dist worksteal
	$(MAKE) lint

# The tests of the dashboard need Chromium or Chrome; conftest.py in tests/http/dashboard finds it.
browser: $(READY)
	@$(BIN)/python -m tests.http.dashboard.find_browser >/dev/null 2>&1 || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get update -q && apt-get install -qy --no-install-recommends chromium; \
	else echo "Chromium is missing: sudo apt-get install chromium" >&2; exit 1; fi

# The test of workers on several hosts makes network namespaces, which only root may; else it is skipped.
network:
	@if [ "$$(id -u)" = 0 ] && ! command -v ip >/dev/null && command -v apt-get >/dev/null; then \
	apt-get update -q && apt-get install -qy --no-install-recommends iproute2; fi

# The tests with the JavaScript SDK need Node.js, and the packages that package-lock.json names.
node: $(READY)
	@$(BIN)/python -m tests.sdk.javascript.find_node >/dev/null 2>&1 || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get update -q && apt-get install -qy --no-install-recommends nodejs npm; \
	else echo "Node.js 18 or later is missing: sudo apt-get install nodejs npm" >&2; exit 1; fi
	@[ $(NODE_PROJECT)/node_modules/.package-lock.json -nt $(NODE_PROJECT)/package-lock.json ] || \
	{ npm ci --prefix $(NODE_PROJECT) --ignore-scripts --no-audit --no-fund --loglevel error && \
	touch $(NODE_PROJECT)/node_modules/.package-lock.json; }

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
	rm -rf .venv .bench-peers site $(NODE_PROJECT)/node_modules

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
