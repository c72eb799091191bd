#include "daemon/head/job_ids.h"

#include "common/os/file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace rtrain;
using namespace rtrain::head;

TEST_CASE("job ids: never the same twice, not after a restart either") {
  test::TempDir folder;
  std::int64_t last = 0;
  for (int restart = 0; restart < 3; ++restart) {
    auto ids = *JobIds::open(folder.path().string());
    for (int i = 0; i < 1500; ++i) {
      const auto id = ids.next();
      REQUIRE(id.has_value());
      REQUIRE(id->value() > last);
      last = id->value();
    }
  }
}

TEST_CASE("job ids: a file that holds no number is not guessed at") {
  test::TempDir folder;
  for (const char* content : {"", "x", "-5", "0"}) {
    REQUIRE(os::write_file_atomic((folder / "next_job_id").string(), content).has_value());
    const auto ids = JobIds::open(folder.path().string());
    REQUIRE(ids.has_error());
    CHECK(ids.error().message().find("next_job_id") != std::string::npos);
  }
}
