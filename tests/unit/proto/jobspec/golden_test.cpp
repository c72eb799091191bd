// Every broken job file of tests/golden/jobspec gives exactly the messages of the .txt beside it.
// RTRAIN_UPDATE_GOLDEN=1 rewrites the .txt files: read the difference before you keep it.
#include "common/os/file.h"
#include "proto/jobspec/jobspec.h"
#include "tests/support/catch.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace jobspec_golden_test {

using namespace rtrain;
namespace fs = std::filesystem;

namespace {

std::string messages_of(const std::string& text) {
  std::string out;
  for (const auto& error : proto::read_job_spec(text).errors) {
    if (error.line > 0) out += std::to_string(error.line) + ":" + std::to_string(error.column) + ": ";
    out += to_string(error) + "\n";
  }
  return out;
}

}  // namespace

TEST_CASE("job files: each broken one is refused with the messages written beside it") {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(RTRAIN_SOURCE_DIR "/tests/golden/jobspec"))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  CHECK(files.size() >= 40);
  const bool update = std::getenv("RTRAIN_UPDATE_GOLDEN") != nullptr;
  for (const auto& file : files) {
    INFO(file.filename().string());
    const auto text = os::read_file(file.string());
    REQUIRE(text.has_value());
    const std::string messages = messages_of(*text);
    CHECK_FALSE(messages.empty());
    const auto expected_path = fs::path(file).replace_extension(".txt").string();
    if (update) REQUIRE(os::write_file_atomic(expected_path, messages).has_value());
    const auto expected = os::read_file(expected_path);
    REQUIRE(expected.has_value());
    CHECK(messages == *expected);
  }
}

}  // namespace jobspec_golden_test
