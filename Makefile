PYTHON ?= .venv/bin/python

# the tests of pure code: no server, no database, no network, no recordings
QUICK = tests/formats tests/test_base64.py tests/test_decode.py tests/test_title_text.py \
	--ignore=tests/formats/test_recordings.py

.PHONY: run test quick clients lint types bench stalls drill docs dist

run:
	$(PYTHON) run.py

test:
	$(PYTHON) -m pytest -q

quick:
	$(PYTHON) -m pytest -q -n 0 $(QUICK)

clients:
	$(PYTHON) tests/clients/run.py

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

# the files that describe the API, from its routes and types
docs:
	$(PYTHON) -m chathub.openapi

dist:
	rm -rf build dist chathub.egg-info
	$(PYTHON) -c "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"
	rm -rf build chathub.egg-info
