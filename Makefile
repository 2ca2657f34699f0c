# `make` lists the targets.
PROJECT := {{cookiecutter.project_slug}}
PYTHON := .venv/bin/python
REQUIREMENTS := requirements.txt $(PROJECT)/requirements-dev.txt
export RUFF_CACHE_DIR := $(CURDIR)/.ruff_cache

.PHONY: help demo test browser-test lint lock clean

help:                ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /make \1	/p' Makefile

demo: .venv/ready    ## generates the default project into a temporary folder and runs its pipeline there
	@folder=$$(mktemp -d) && .venv/bin/cookiecutter --no-input --default-config --output-dir "$$folder" . && \
		project=$$(ls -d "$$folder"/*) && \
		PATH="$$PATH:$(CURDIR)/.venv/bin" $(MAKE) --no-print-directory --directory "$$project" run && \
		echo "The results lie in $$project/runs/latest"

BROWSER := --ignore tests/browser
test: lint           ## lint and all tests but the browser's, two files at a time; make test ARGS="-k hooks" for some
	$(PYTHON) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(BROWSER) $(ARGS)

browser-test: .venv/ready   ## the report in a real browser; needs Chromium (Debian: apt-get install chromium)
	$(PYTHON) -m pytest tests/browser $(ARGS)

lint: .venv/ready    ## style and likely mistakes of the template and of what it generates
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check --config pyproject.toml "$(PROJECT)/local_aws"   # which projects leave out
	$(PYTHON) -m ruff format --check --config pyproject.toml "$(PROJECT)/local_aws"

lock: .venv/ready    ## after a change of dependencies; newer versions of all: make lock ARGS=--upgrade
	@set -e; folder=$$(mktemp -d); \
		.venv/bin/cookiecutter --no-input --default-config --output-dir "$$folder" . > /dev/null; \
		$(MAKE) --directory "$$folder"/* lock ARGS="$(ARGS)"; \
		cp "$$folder"/*/requirements*.txt "$(PROJECT)"; rm -rf "$$folder"
	PATH="$$PATH:.venv/bin" uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--fork-strategy fewest --custom-compile-command "make lock" $(ARGS) requirements.in \
		--constraint "$(PROJECT)/requirements-dev.txt" --output-file requirements.txt
	PATH="$$PATH:.venv/bin" uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--fork-strategy fewest --custom-compile-command "make lock" $(ARGS) tests/checkov.in \
		--output-file tests/checkov.txt
	PATH="$$PATH:.venv/bin" uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--fork-strategy fewest --custom-compile-command "make lock" $(ARGS) tests/benchmarks/evidently.in \
		--output-file tests/benchmarks/evidently.txt

clean:               ## drops the template's environment and caches
	rm -rf .venv .checkov .evidently .python-version .ruff_cache .pytest_cache .hypothesis

# The first supported Python on PATH, unless you write another one here; none but uv: one that uv fetches.
.python-version:
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
		"$$python" -c "import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 14); \
			print('%d.%d' % sys.version_info[:2])" > $@ 2> /dev/null && exit; \
	done; rm -f $@; \
	command -v uv > /dev/null || { echo "no Python 3.11 to 3.14 on PATH: install one, or uv" >&2; exit 1; }; \
	echo 3.13 > $@

# The same environment as the generated project's, with the template's own requirements added.
.venv/ready: .python-version $(REQUIREMENTS)
	@$(MAKE) --no-print-directory --file "$(PROJECT)/Makefile" REQUIREMENTS="$(REQUIREMENTS)" $@
