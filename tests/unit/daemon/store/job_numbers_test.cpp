#include "daemon/store/job_numbers.h"

#include "common/os/file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace job_numbers_test {

using namespace rtrain;
using namespace rtrain::store;

TEST_CASE("job numbers: the mark is above every number that was told, whenever the head dies") {
  test::TempDir folder;
  const auto dir = folder.path().string();
  CHECK(*JobNumbers::read(dir) == 1);
  JobNumbers numbers(dir, 1, false);
  for (std::int64_t id = 1; id < 3000; ++id) {
    REQUIRE(numbers.reserve(id).has_value());
    REQUIRE(*JobNumbers::read(dir) > id);
  }
  REQUIRE(numbers.settle(3000).has_value());
  CHECK(*JobNumbers::read(dir) == 3000);
}

TEST_CASE("job numbers: a file that holds no number is not guessed at") {
  test::TempDir folder;
  for (const char* content : {"", "x", "-5", "0"}) {
    REQUIRE(os::write_file_atomic((folder / "next_job_id").string(), content).has_value());
    const auto mark = JobNumbers::read(folder.path().string());
    REQUIRE(mark.has_error());
    CHECK(mark.error().message().find("next_job_id") != std::string::npos);
  }
}

}  // namespace job_numbers_test
