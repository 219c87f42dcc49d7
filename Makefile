PYTHON ?= python

.PHONY: check format lint types imports test dist

check: format lint types imports test

format:
	$(PYTHON) -m ruff format --check .

lint:
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m pyright --pythonpath "$$($(PYTHON) -c 'import sys; print(sys.executable)')"

imports:
	lint-imports

test:
	$(PYTHON) -m pytest --numprocesses 2

# setuptools would ship deleted modules that still lie in build/.
dist:
	rm -rf build
	$(PYTHON) -m build
