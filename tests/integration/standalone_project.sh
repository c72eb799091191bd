#!/bin/sh
# Installs into a fresh prefix, builds a copy of examples/standalone against it alone, and runs it both ways.
# usage: standalone_project.sh SOURCE_DIR BUILD_DIR
set -eu
source_dir=$1 build_dir=$2
work=$(mktemp -d "${TMPDIR:-/tmp}/rtrain-standalone-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

say() { echo "== $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

say "install"
cmake --install "$build_dir" --prefix "$work/first" >install.log || { cat install.log; fail "cmake --install"; }
mv first prefix   # a prefix can be moved
for program in rtrain rtraind rtrain-worker rtrain-keeper; do
  [ -x prefix/bin/$program ] || fail "$program is not installed"
done
for file in prefix/bin/* prefix/lib/librtrain.so; do
  if ldd "$file" | grep 'not found'; then fail "$file does not find its libraries"; fi
  if ldd "$file" | grep -F "$build_dir/"; then fail "$file still needs the build folder"; fi
done

say "build"
cp -r "$source_dir/examples/standalone" project
cmake -S project -B project/build -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" >configure.log 2>&1 || { cat configure.log; fail "configure"; }
cmake --build project/build >build.log 2>&1 || { cat build.log; fail "build"; }

say "as a part of another project"   # configured only: it leaves the other's folders and build type alone
mkdir parent
cat >parent/CMakeLists.txt <<END
cmake_minimum_required(VERSION 3.25)
project(parent LANGUAGES CXX)
add_subdirectory($source_dir rtrain)
file(WRITE \${CMAKE_BINARY_DIR}/mine.cpp "")
add_library(mine MODULE \${CMAKE_BINARY_DIR}/mine.cpp)
target_link_libraries(mine PRIVATE rtrain::rtrain)
file(GENERATE OUTPUT seen CONTENT "\$<TARGET_FILE_DIR:mine> \$<TARGET_FILE_DIR:rtrain> [\$<CONFIG>]\n")
END
cmake -S parent -B parent/build -G Ninja >configure.log 2>&1 || { cat configure.log; fail "configure as a subproject"; }
[ "$(cat parent/build/seen)" = "$work/parent/build $work/parent/build/rtrain/bin []" ] || fail "subproject: $(cat parent/build/seen)"

say "rtrain run job.json"
cd project
timeout 120 ../prefix/bin/rtrain run job.json -o json >run.log 2>run.err || { cat run.log run.err; fail "rtrain run"; }
tail -n 1 run.log >result.json
python3 - result.json <<'END' || fail "result: $(cat result.json)"
import json, os, sys
result = json.load(open(sys.argv[1]))
assert result["error"] is None, result["error"]
assert result["metrics"]["accuracy"] > 0.8, result["metrics"]
assert os.path.exists(os.path.join(result["checkpoint"]["path"], "checkpoint.ckpt", "model.safetensors")), result["checkpoint"]
END

say "build/fit"
timeout 120 build/fit >fit.log 2>&1 || { cat fit.log; fail "build/fit"; }
grep -q '^accuracy' fit.log || { cat fit.log; fail "build/fit printed no accuracy"; }
say "done"
