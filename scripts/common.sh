# What the scripts share: messages, the folders, the number of compile jobs. Sourced, not run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rtrain
torch_version=2.11.0
torch_env=$cache/python-$torch_version
tests_env=$cache/python-tests
schemathesis_version=4.32.5
clang_format_version=18.1.8
tensorboard_version=2.21.0
mlflow_env=$cache/python-mlflow
mlflow_version=3.17.2

say() { printf '==> %s\n' "$*"; }
stop() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Without a file of the data set the training examples cannot run.
data_dir=/usr/share/datasets/fashion-mnist
have_data() { [ -e "$data_dir/train-images-idx3-ubyte.gz" ] || [ -e "$data_dir/train-images-idx3-ubyte" ]; }

# One compile job a core, but a file that includes <torch/torch.h> takes up to 1.5 GiB. RTRAIN_JOBS overrides.
compile_jobs() {
  if [ -n "${RTRAIN_JOBS:-}" ]; then echo "$RTRAIN_JOBS"; return; fi
  local cores memory_kib by_memory
  cores=$(nproc)
  memory_kib=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
  by_memory=$((memory_kib / 1572864))
  [ "$by_memory" -ge 1 ] || by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}

# The release of an installed clang++ with a TOOL of the same one; "": there is none.
clang_release() {
  local candidate
  for candidate in 16 17 18 19; do
    if command -v "clang++-$candidate" >/dev/null && command -v "${1:-clang++}-$candidate" >/dev/null; then echo "$candidate"; return; fi
  done
}

# The build folder of a preset: release programs land in build/bin.
build_dir() {
  case $1 in
    release) echo "$root/build" ;;
    debug|clang|asan|asan-notorch|tsan|notorch) echo "$root/build-$1" ;;
    *) stop "no preset '$1'; there are release, debug, clang, asan, asan-notorch, tsan and notorch (CMakePresets.json)" ;;
  esac
}
