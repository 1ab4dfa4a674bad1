PYTHON ?= .venv/bin/python

# the tests of pure code: no server, no database, no network, no recordings
QUICK = tests/formats tests/test_base64.py tests/test_decode.py tests/test_title_text.py \
	--ignore=tests/formats/test_recordings.py

.PHONY: run test quick clients lint types bench stalls drill contract docs dist lock locked

# the versions of all dependencies, for every system and Python; UPGRADE=--upgrade takes newer ones
LOCK = $(PYTHON) -m uv pip compile setup.cfg --quiet --no-header --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --extra fast --extra metrics --extra socks $(UPGRADE)

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

# examples of every operation against a real server, in an environment of its own
contract:
	[ -x .contract/bin/schemathesis ] || $(PYTHON) -m venv .contract
	.contract/bin/pip install -q -e '.[contract]'
	.contract/bin/python tests/contract/run.py

# the files that describe the API, from its routes and types
docs:
	$(PYTHON) -m chathub.openapi

dist:
	rm -rf build dist chathub.egg-info
	$(PYTHON) -c "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"
	rm -rf build chathub.egg-info

lock:
	$(PYTHON) -m pip install -q 'uv>=0.9'
	$(LOCK) --output-file requirements.lock
	$(LOCK) --extra local --no-annotate --constraint requirements.lock \
		--output-file requirements-local.lock

# what the lock names can be installed, is enough, and starts
locked:
	rm -rf .locked build
	$(PYTHON) -m venv .locked
	.locked/bin/pip install -q --only-binary :all: --require-hashes -r requirements.lock
	.locked/bin/pip install -q --no-deps .
	.locked/bin/pip check
	.locked/bin/python -c "import chathub.app" && .locked/bin/chathub --version
	rm -rf .locked build
