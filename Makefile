# make run: the whole instrument on a simulated cell.   make test: everything, against real parts.   make help: the rest.
PY := .venv/bin
ARGS ?=
TESTS ?= tests/real tests/hostile tests/shipped

help:  ## what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 14

setup: .venv/installed  ## a virtual environment with the tested versions, and the Debian packages it needs

.venv/installed: pyproject.toml requirements.lock .ci/need
	.ci/need python3-venv python3-dev gcc libasound2-dev
	python3 -m venv .venv && $(PY)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(PY)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . && touch $@

run: setup  ## the gateway on the simulated cell with its own broker; ARGS="--microphone default" takes a real one
	.ci/need mosquitto mosquitto-clients
	$(PY)/spectrophone run --demo $(ARGS)

check: setup  ## lint, types, imports, unit tests: under three minutes
	$(PY)/ruff check . && $(PY)/ruff format --check . && $(PY)/mypy && $(PY)/lint-imports
	$(PY)/pytest -n 2 --dist loadfile tests/unit tests/dsp tests/path tests/wire tests/image

test: check  ## everything in `check`, then the tests against real parts
	.ci/need mosquitto mosquitto-clients openssl pulseaudio libasound2-plugins redis-server postgresql influxdb mbpoll prometheus \
		chromium chromium-driver
	$(PY)/pytest --durations 20 $(TESTS)

bench: setup  ## speed and precision, as ratios from one run
	bench/speed/need
	for b in bench/*.py; do $(PY)/python $$b || exit 1; done
	$(PY)/python -m bench.speed && OPENBLAS_NUM_THREADS=1 $(PY)/python -m bench.precision

docs: setup  ## the generated pages anew
	$(PY)/python -c "from gateway import jsonlines as j; print(j.reference(), end='')" > docs/json-lines.md
	$(PY)/python -c "from gateway import design as b; from gateway.config import reference as r; print(r.reference(b.SETTINGS), end='')" > docs/configuration.md
	$(PY)/python -c "from gateway.actions import reference as r; print(r.reference(), end='')" > docs/actions.md
	$(PY)/python -c "from gateway.scripts import reference as r; print(r.reference(), end='')" > docs/script-api.md
	$(PY)/python -c "from gateway import signals as s; print(s.reference(), end='')" > docs/leds.md
	$(PY)/python -c "from gateway import interlock as i; print(i.reference(), end='')" > docs/interlock.md
	$(PY)/python -c "from gateway import metrics as m; print(m.reference(), end='')" > docs/metrics.md
	$(PY)/python -c "from gateway.modbus import reference as r; print(r.reference(), end='')" > docs/modbus.md

pictures: setup  ## the pictures of docs/page.md anew, by a real Chromium
	.ci/need chromium chromium-driver
	SPECTROPHONE_PICTURES=docs/pictures $(PY)/pytest tests/real/test_page.py

test-ha: setup  ## the gateway on real Home Assistants, the newest and an older (root; twenty minutes; the first time ten more and 3 GB)
	.ci/need mosquitto debootstrap iproute2
	tests/ha/run $(PY)/python

test-hil: setup  ## the gateway on a real kernel's devices, in user-mode Linux (eight minutes and 700 MB the first time)
	.ci/need mmdebstrap device-tree-compiler e2fsprogs
	SPECTROPHONE_HIL=$${SPECTROPHONE_HIL:-/var/tmp/spectrophone-hil} $(PY)/pytest tests/hil

test-pi3: setup  ## drivers and gateway on an emulated Pi 3 under its own kernel drivers (root; seven minutes, at first half an hour)
	.ci/need mmdebstrap qemu-user-static qemu-system-arm device-tree-compiler e2fsprogs
	tests/hil/pi3/run $(PY)/python

image:  ## an image for the card of a Raspberry Pi (root; ten minutes for a new gateway, at first half an hour and 5 GB)
	image/build

test-image: setup  ## the image in an emulated machine: first start, settings, updates, cuts of power (root; an hour)
	.ci/need qemu-system-arm mosquitto mosquitto-clients openssh-client mtools fdisk e2fsprogs
	tests/image/run $(PY)/python

test-role: setup  ## the Ansible role over SSH on two booted machines (root; half an hour, at first ten minutes more)
	.ci/need mmdebstrap e2fsprogs openssh-client qemu-system-arm
	$(PY)/python -m tests.image.role

lock:  ## resolve the tested versions anew (needs uv)
	uv pip compile --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --group dev pyproject.toml -o requirements.lock

.PHONY: help setup run check test bench docs pictures test-ha test-hil test-pi3 image test-image test-role lock
