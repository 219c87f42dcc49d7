#!/usr/bin/env bash
# Gather what a GPU machine without a package index lacks, to be taken there with the working tree:
#
#     tools/gpu_kit.sh                 # here: wheels for its Python into gpu_kit/
#     tools/gpu_kit.sh install DIR     # there: puts them into DIR, for PYTHONPATH=DIR:src
#
# Such a machine (x86-64 Linux, Python 3.12) has torch, transformers, peft, pyarrow, scipy, pytest and
# what these need; the list below is the rest. All of it takes less than 64 MB, working tree included.
set -euo pipefail
cd "$(dirname "$0")/.."
kit=gpu_kit
python=${PYTHON:-python3}
most_mb=64

if [ "${1-}" = install ]; then
  $python -m pip install --quiet --no-index --find-links "$kit" --no-deps --no-compile --upgrade --target "$2" "$kit"/*.whl
  cp -r "$kit"/layerbench-*.dist-info "$2"
  exit
fi

# Of the project's needs and theirs; the last only for tests.
wheels="alfworld cloudpickle farama-notifications gymnasium hashids hydra-core hydra-joblib-launcher
  jaxtyping joblib mementos more-itertools networkx omegaconf prompt-toolkit psutil pystemmer rapidfuzz
  regex tatsu termcolor textworld wadler-lindig wcwidth wrapt pytest-timeout"
# Published as source. antlr4 is pure; the other two are C libraries, the same for every Python.
sources="antlr4-python3-runtime fast-downward-textworld jericho"

pinned() {
  for name in "$@"; do
    grep "^$name==" constraints.txt || { echo "$name: not in constraints.txt" >&2 && return 1; }
  done
}
# shellcheck disable=SC2086
wheels=$(pinned $wheels)
# shellcheck disable=SC2086
sources=$(pinned $sources)

rm -rf "$kit"
platforms=(--platform manylinux1_x86_64 --platform manylinux2014_x86_64)
for glibc in 12 17 24 27 28 31 34; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
# shellcheck disable=SC2086
$python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
  --implementation cp "${platforms[@]}" --dest "$kit" $wheels
# shellcheck disable=SC2086
$python -m pip wheel --quiet --no-deps --wheel-dir "$kit" $sources
# The package runs from src/, but is known to be installed, with its environments, by its metadata.
$python - "$kit" >/dev/null <<'PYTHON'
import sys

from setuptools import build_meta

build_meta.prepare_metadata_for_build_wheel(sys.argv[1])
PYTHON

for wheel in "$kit"/*.whl; do
  case $wheel in
    *-py3-none-any.whl | *-py2.py3-none-any.whl | *-py3-none-manylinux*x86_64.whl | *-cp312-*x86_64.whl | *-abi3-*x86_64.whl) ;;
    *) echo "$wheel is for another Python" >&2 && exit 1 ;;
  esac
done
kit_mb=$(du -cm --apparent-size "$kit"/*.whl | tail -1 | cut -f1)
tree_mb=$(git ls-files -z --cached --others --exclude-standard | xargs -0 du -cm --apparent-size | tail -1 | cut -f1)
echo "$kit: $(find "$kit" -name '*.whl' | wc -l) wheels, $kit_mb MB; the working tree: $tree_mb MB"
if [ $((kit_mb + tree_mb)) -ge $most_mb ]; then
  echo "more than $most_mb MB together" >&2
  exit 1
fi
