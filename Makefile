# remoteclip-edge. Each target works on a fresh clone; `make help` lists them.
PYTHON ?= python3
# pip's own retries are few for a slow line.
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --retries 8

DEMO = .venv/bin
DEV = .venv-dev/bin
# The wheel whose orthophoto the demo flies over; only its data files are used, so none of its dependencies.
DEEPFOREST = deepforest==2.1.0

BUNDLE ?= firmware_cfg/bundles/default
CHECKPOINT ?= training/checkpoints/default
SECONDS ?= 300
DATA ?= $(or $(REMOTECLIP_DATA),../shared/data)
ARGS ?=
# Tests run in so many processes, each on one core.
WORKERS ?= 2

PACKAGING = pyproject.toml CMakeLists.txt constraints.txt constraints-edge.txt $(wildcard edge/native/*.cpp edge/native/*.hpp edge/native/*.cu edge/native/*.cmake)

.DEFAULT_GOAL := help
.PHONY: help demo test lint package accuracy bench tracking fleet faults soak swap constraints mosquitto faketime chromium rtsp-server cross clean

help:  ## Show the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/installed  ## Fly the demo: make demo ARGS="--headless --seconds 20 --json"
	@$(DEMO)/remoteclip demo $(ARGS)

test: .venv-dev/installed mosquitto chromium rtsp-server cross lint  ## Lint, then run every test.
	PYTHONUTF8=1 OMP_NUM_THREADS=1 $(DEV)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

lint: .venv-dev/installed  ## Check style, types and the import ladder.
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .
	$(DEV)/mypy
	$(DEV)/lint-imports

package: .venv-dev/installed  ## Build the wheel, try it outside the checkout, resolve it for JetPack.
	$(DEV)/python -m pytest -m "packaging or whole" tests/packaging tests/compile/test_clip_export.py $(ARGS)

accuracy: .venv-dev/installed  ## Measure the shipped bundle and checkpoint on held-back data: make accuracy DATA=...
	$(DEV)/remoteclip eval accuracy $(BUNDLE) $(CHECKPOINT) $(DATA) $(ARGS)

bench: .venv-dev/installed mosquitto  ## The daemon beside what a user would pick instead, each stage and the machine's ceiling.
	$(DEV)/remoteclip bench --bundle $(BUNDLE) $(addprefix --data ,$(wildcard $(DATA))) -o runs/bench $(ARGS)

faults: .venv-dev/installed mosquitto faketime  ## Break everything round a flying daemon; what alerts arrive all the same.
	$(DEV)/python -m benchmarks.faults $(ARGS)

# roboflow's trackers, to stand beside ours. Without its dependencies: they would put a second OpenCV over ours, and the
# rest of them is there.
TRACKERS = trackers==2.6.1 supervision==0.31.2 pydeprecate==0.14.0 defusedxml==0.7.1

tracking: .venv-dev/installed  ## Unique counts and identities from a moving camera, beside ByteTrack; what tracking costs.
	$(DEV)/python $(PIP_INSTALL) --no-deps $(TRACKERS)
	$(DEV)/python -m benchmarks.tracking --data $(DATA) $(ARGS)

soak: .venv-dev/installed mosquitto  ## Fly long, with faults by schedule; what memory does: make soak SECONDS=300
	$(DEV)/python -m benchmarks.soak --seconds $(SECONDS) $(ARGS)

fleet: .venv-dev/installed mosquitto  ## A thousand simulated drones on one broker: alerts a second, latency, what breaks first.
	$(DEV)/python -m benchmarks.fleet $(ARGS)

swap: .venv-dev/installed  ## Save prompt lists while a clip plays: from the save to the first count, and frames dropped.
	$(DEV)/python benchmarks/prompt_swap.py $(DATA)/video/boat1.mp4 $(ARGS)

# Both environments hold the checkout as an editable install, so that only a change of what is
# installed, or of the native code, installs again.
.venv/installed: $(PACKAGING)
	@echo "Installing what the drone needs into .venv (first time: a minute or two)" >&2
	$(PYTHON) -m venv .venv
	$(DEMO)/python $(PIP_INSTALL) -c constraints-edge.txt -e '.[demo,console]'
	$(DEMO)/python $(PIP_INSTALL) --no-deps '$(DEEPFOREST)'
	@touch $@

.venv-dev/installed: $(PACKAGING)
	@echo "Installing what development needs into .venv-dev (first time: some minutes)" >&2
	$(PYTHON) -m venv .venv-dev
	$(DEV)/python $(PIP_INSTALL) -c constraints.txt -e '.[dev]'
	$(DEV)/python $(PIP_INSTALL) --no-deps '$(DEEPFOREST)'
	@touch $@

# $(call need,CHECK,DEBIAN PACKAGES,WHAT FOR[,0]): where CHECK fails, install the packages with Debian's tools, if we
# may. With 0 it is no error that we may not: the tests that need them say so and are skipped.
define need
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin"; \
	if $(1) >/dev/null 2>&1; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2); \
	else \
	    echo "$(3) is missing: install it, e.g. sudo apt-get install $(2)" >&2; exit $(or $(4),1); \
	fi
endef

mosquitto:
	$(call need,command -v mosquitto,mosquitto,mosquitto for tests with a real broker)

faketime:
	$(call need,command -v faketime,faketime,faketime for tests that set the clock)

chromium:
	$(call need,command -v chromium,chromium,chromium for tests of the pages that commands write,0)

# A camera to test with: GStreamer's RTSP server, which Debian's own Python runs.
RTSP_PACKAGES = python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-tools gstreamer1.0-plugins-base \
	gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-rtsp
RTSP_CHECK = /usr/bin/python3 -c "import gi; gi.require_version('GstRtspServer', '1.0')" && gst-inspect-1.0 x264enc

rtsp-server:
	$(call need,$(RTSP_CHECK),$(RTSP_PACKAGES),GStreamer's RTSP server for tests with a real camera stream,0)

# The drone's processor: its compiler, and an emulator that runs what it made.
CROSS_CHECK = command -v aarch64-linux-gnu-g++ && command -v qemu-aarch64

cross:
	$(call need,$(CROSS_CHECK),g++-aarch64-linux-gnu qemu-user,the 64-bit ARM compiler and emulator for tests of the kernel,0)

# One resolution for all supported Python versions; the drone's file keeps to the versions of the other.
RESOLVE = .venv-constraints/bin/uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header --upgrade
SIMPLIFY = sed -i -E \
	-e "s/\((platform_machine == '[a-zA-Z0-9_]+') and sys_platform == 'linux'\)/\1/g" \
	-e "s/ and sys_platform == 'linux'//; s/ and python_full_version < '3.14'//" \
	-e "s/python_full_version < '3.14' and //; s/ ; python_full_version < '3.14'$$//"

constraints:  ## Resolve constraints.txt and constraints-edge.txt again.
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python $(PIP_INSTALL) uv
	$(RESOLVE) --extra dev pyproject.toml -o constraints.txt
	$(SIMPLIFY) constraints.txt
	$(RESOLVE) --extra demo --extra console --extra onnxruntime --extra mavlink --extra cot --extra hyperspectral -c constraints.txt pyproject.toml -o constraints-edge.txt
	$(SIMPLIFY) constraints-edge.txt

clean:  ## Remove the environments and build folders.
	rm -rf .venv .venv-dev .venv-constraints build dist
