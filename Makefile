PYTHON ?= .venv/bin/python

.PHONY: run test lint types bench stalls drill dist

run:
	$(PYTHON) run.py

test:
	$(PYTHON) -m pytest -q

lint:
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

bench:
	$(PYTHON) tests/bench/run.py

stalls:
	$(PYTHON) tests/bench/stalls.py

drill:
	$(PYTHON) tests/drill.py

dist:
	rm -rf build dist
	$(PYTHON) -m pip wheel -q --no-deps -w dist .
