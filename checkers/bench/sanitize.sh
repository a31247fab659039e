#!/bin/sh
# Build the native core with the address and undefined-behaviour sanitizers, in a copy of the tree, and run its tests there.
#
#   checkers/bench/sanitize.sh [pytest arguments]       from the root of the repository; PYTHON names the interpreter
#
# Leaks are not looked for: the interpreter itself leaves memory behind at its exit.
set -eu

python=$(command -v "${PYTHON:-.venv/bin/python}")
case $python in /*) ;; *) python=$PWD/$python ;; esac
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT INT TERM

cp -R setup.py setup.cfg pyproject.toml histories checkers docs "$copy"
cd "$copy"
find . -name '*.so' -exec rm {} +
THEMIS_SANITIZE=address,undefined "$python" setup.py -q build_ext --inplace

grep -q __asan_init checkers/linearizability/_core*.so || { echo "the core was built without sanitizers" >&2; exit 1; }

export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so) $(g++ -print-file-name=libstdc++.so)"
export ASAN_OPTIONS=detect_leaks=0
export PYTHONMALLOC=malloc
"$python" -c 'from checkers.linearizability import native; assert native.core and native.encoder and native.monitors, "a core was not built"'
"$python" -m pytest -p no:cacheprovider --timeout 3600 -m 'not long and not soak' \
    checkers/tests/test_linearizability.py checkers/tests/test_linearizability_twins.py checkers/tests/test_agreement.py checkers/tests/test_guide.py \
    checkers/tests/test_monitors.py checkers/tests/test_operations.py checkers/tests/test_register_monitors.py checkers/tests/test_copies.py "$@"
echo "no sanitizer found anything"
