#include <rtrain/registry.h>

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "worker/sdk/train_library.h"

#include <fstream>

namespace registry_test {

using namespace rtrain;

namespace {

void nothing() {}
double twice(const Config& config) { return 2 * config.value("x", 1.0); }

std::string load_error(const std::string& library, const std::string& name = "") {
  try {
    (void)sdk::load_train_function(library, name);
  } catch (const sdk::LoadError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("train function: with or without config, with or without a value", "[unit][sdk]") {
  const Config config(nlohmann::json{{"x", 4.0}});
  CHECK(TrainFunction(nothing)(config).is_null());
  CHECK(TrainFunction(twice)(config) == 8.0);
  CHECK(TrainFunction([] { return std::string("done"); })(config) == "done");
  int calls = 0;
  CHECK(TrainFunction([&calls](const Config&) { ++calls; })(config).is_null());
  CHECK(calls == 1);
  nlohmann::json value;
  rtrain::detail::registered_train_function<&twice>(&config, &value);
  CHECK(value == 8.0);
}

TEST_CASE("registry: a tag names every version that must agree", "[unit][sdk]") {
  const std::string ours = RTRAIN_ABI_TAG;
  CHECK(ours.find("rtrain " RTRAIN_SDK_VERSION ", LibTorch " TORCH_VERSION ", nlohmann/json 3.") !=
        std::string::npos);
  CHECK(sdk::abi_mismatch(ours) == std::nullopt);
  const auto mismatch =
      sdk::abi_mismatch("rtrain-abi: rtrain 0.0.9, LibTorch 2.9.1, nlohmann/json 3.11.2, C++11 ABI 1");
  REQUIRE(mismatch.has_value());
  CHECK(mismatch->find("was built with rtrain 0.0.9, LibTorch 2.9.1") == 0);
  CHECK(mismatch->find("this worker is rtrain " RTRAIN_SDK_VERSION ", LibTorch " TORCH_VERSION) !=
        std::string::npos);
}

TEST_CASE("registry: a foreign tag is found in a file's bytes", "[unit][sdk]") {
  const std::string ours = RTRAIN_ABI_TAG;
  CHECK(sdk::foreign_tag_in("") == std::nullopt);
  CHECK(sdk::foreign_tag_in(std::string("\0x", 2) + ours + std::string("\0y", 2)) == std::nullopt);
  CHECK(sdk::foreign_tag_in(ours + std::string("\0rtrain-abi: rtrain 9\0", 22)) == "rtrain-abi: rtrain 9");
}

TEST_CASE("registry: a library that cannot be loaded says why", "[unit][sdk]") {
  const test::TempDir dir;
  CHECK(load_error("/nowhere/lib.so") ==
        "cannot open the training library /nowhere/lib.so: No such file or directory");
  std::ofstream(dir / "text.so") << "not a library";
  CHECK(load_error((dir / "text.so").string()) ==
        "the training library " + (dir / "text.so").string() + " is no ELF file");
  std::ofstream(dir / "old.so") << std::string("\0rtrain-abi: rtrain 0.0.1, LibTorch 1.0\0", 40);
  CHECK(load_error((dir / "old.so").string())
            .find("was built with rtrain 0.0.1, LibTorch 1.0; this worker is rtrain ") != std::string::npos);
  CHECK(load_error("libz.so.1").find("cannot open") == 0);  // no search: a path or nothing
}

TEST_CASE("registry: a library that was cut off is named with its size and the size that it should have",
          "[unit][sdk][F28]") {
  const test::TempDir dir;
  std::ifstream self("/proc/self/exe", std::ios::binary);
  std::string half(100'000, '\0');
  self.read(half.data(), static_cast<std::streamsize>(half.size()));
  std::ofstream(dir / "half.so", std::ios::binary) << half;
  const auto error = load_error((dir / "half.so").string());
  CHECK(error.find("the training library " + (dir / "half.so").string() +
                   " is truncated: it has 100000 bytes, its ELF header requires ") == 0);
  std::ofstream(dir / "empty.so") << "";
  CHECK(load_error((dir / "empty.so").string()) ==
        "the training library " + (dir / "empty.so").string() + " is empty or no file");
}

TEST_CASE("registry: a foreign tag is found wherever it stands in a large file", "[unit][sdk]") {
  const test::TempDir dir;
  for (const std::size_t before : {(1u << 20) - 30, (1u << 20) - 5, (2u << 20) - 200}) {
    const std::string ours = RTRAIN_ABI_TAG;
    std::ofstream(dir / "large.so", std::ios::binary)
        << std::string(before, 'x') << '\0' << ours << '\0' << std::string(before, 'y')
        << std::string("\0rtrain-abi: rtrain 0.0.2\0", 26) << std::string(3u << 20, 'z');
    CHECK(load_error((dir / "large.so").string()).find("was built with rtrain 0.0.2") != std::string::npos);
    std::ofstream(dir / "ours.so", std::ios::binary)
        << std::string(before, 'x') << '\0' << ours << '\0' << std::string(3u << 20, 'z');
    CHECK(load_error((dir / "ours.so").string()).find("no ELF file") != std::string::npos);
  }
}

}  // namespace registry_test
