#include "worker/supervision/device_links.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <filesystem>

namespace device_links_test {

using namespace rtrain;
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

}  // namespace device_links_test
