#!/usr/bin/env bash
# Everything about training that wants a GPU, on one machine with one GPU and 16 cores, in at most eight minutes; asks
# for no network, and takes the torch that is there, whatever it warns of. Each step has its own time and its own file
# of output, and runs whether or not others failed.
#   on_gpu.sh [DIRECTORY]      default ./on_gpu; PYTHON and METTA_SWEEP_PUFFER_PYTHON name interpreters, default python3
# Ends with the number of steps that failed or ran out of time.
set -u
python=${PYTHON:-python3}
export METTA_SWEEP_PUFFER_PYTHON=${METTA_SWEEP_PUFFER_PYTHON:-$python}
mkdir -p "${1:-on_gpu}" || exit 2
output=$(cd "${1:-on_gpu}" && pwd) || exit 2
cd "$(dirname "${BASH_SOURCE[0]}")/../../.." || exit 2
export PYTHONUNBUFFERED=1
failed=0

# note WORDS...: to the terminal and to the summary
note() {
  echo "$@" | tee -a "$output/summary.txt"
}

# step NAME SECONDS PYTEST_ARGUMENTS...: after SECONDS it is interrupted, so that it ends its processes, then killed
step() {
  local name=$1 limit=$2 code=0 began=$SECONDS
  shift 2
  timeout --signal=INT --kill-after=5 "$limit" \
    "$python" -m pytest -p no:cacheprovider -m 'not long' -W default --timeout=0 -rs -s "$@" \
    >"$output/$name.txt" 2>&1 || code=$?
  case $code in
    0) note "$name: ok, $((SECONDS - began)) s" ;;
    124 | 137) note "$name: interrupted after $limit s" ;;
    *) note "$name: failed with exit code $code, $((SECONDS - began)) s" ;;
  esac
  grep -E 'cores, load|steps/s|steps per second|ours over it|^(FAILED|ERROR|SKIPPED)' "$output/$name.txt" |
    tee -a "$output/summary.txt"
  [ "$code" = 0 ] || failed=$((failed + 1))
}

: >"$output/summary.txt"
note "$(date -u +%FT%TZ) $(git rev-parse --short HEAD 2>/dev/null || echo 'no git')"
note "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null || echo 'no GPU'), $(nproc) cores"
note "$("$python" -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda)' 2>&1 | tail -n 1)"

# PuffeRL's compiled part is built while the first step runs, which measures nothing.
compiling=
if "$METTA_SWEEP_PUFFER_PYTHON" -c 'import pufferlib' 2>/dev/null; then
  timeout 120 "$METTA_SWEEP_PUFFER_PYTHON" -m tests.benchmarks.training.puffer_arena compile \
    >"$output/compile_puffer.txt" 2>&1 &
  compiling=$!
fi

step gpu 95 --timeout=40 tests/trainables/test_gpu.py  # a Ray that does not come up costs one test
step scaling 110 tests/benchmarks/training/test_scaling.py
if [ -n "$compiling" ] && wait "$compiling"; then
  step puffer 150 tests/benchmarks/training/test_against_puffer.py -k many_cores
elif [ -n "$compiling" ]; then
  note "puffer: not compiled, see compile_puffer.txt"
  failed=$((failed + 1))
else
  note "puffer: left out, $METTA_SWEEP_PUFFER_PYTHON has no pufferlib-core"
fi
step gpu_speed 85 tests/benchmarks/training/test_gpu_speed.py

note "$failed of the steps failed, $SECONDS s; all output is in $output"
exit "$failed"
