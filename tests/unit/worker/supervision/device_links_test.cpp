#include "worker/supervision/device_links.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <filesystem>
#include <fstream>

using namespace rtrain;
using rtrain::supervision::mapped_driver;
using rtrain::supervision::open_gpu_files;

TEST_CASE("device links: files of the GPU's driver are found among the open ones", "[unit][supervision]") {
  const test::TempDir dir;
  const auto link = [&](const char* name, const char* target) {
    std::filesystem::create_symlink(target, dir.path() / name);
  };
  link("0", "/dev/null");
  link("1", "pipe:[4711]");
  link("2", "/tmp/dev/nvidia0");
  CHECK(open_gpu_files(dir.path().string()).empty());
  link("3", "/dev/nvidiactl");
  link("4", "/dev/nvidia0");
  link("5", "/dev/nvidia0");
  CHECK(open_gpu_files(dir.path().string()) == std::vector<std::string>{"/dev/nvidia0", "/dev/nvidiactl"});
  CHECK(open_gpu_files((dir.path() / "none").string()).empty());
  CHECK(open_gpu_files().empty());
}

TEST_CASE("device links: the driver's library is found among the mapped ones", "[unit][supervision]") {
  const test::TempDir dir;
  const auto maps = (dir.path() / "maps").string();
  std::ofstream(maps) << "7f00-7f10 r-xp 00000000 08:01 1     /usr/lib/libcudart.so.13\n";
  CHECK(mapped_driver(maps).empty());
  std::ofstream(maps, std::ios::app)
      << "7f20-7f30 r-xp 00000000 08:01 2     /usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06\n";
  CHECK(mapped_driver(maps) == "/usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06");
}
