#include "common/base/result.h"
#include "common/base/id.h"
#include "tests/support/catch.h"

namespace result_test {

using namespace rtrain;

TEST_CASE("result: every code has a name and comes back from it") {
  for (int i = 0; i <= static_cast<int>(Errc::kInternal); ++i) {
    const auto code = static_cast<Errc>(i);
    CHECK(errc_from_string(to_string(code)) == code);
  }
  CHECK(errc_from_string("nonsense") == Errc::kInternal);
}

TEST_CASE("result: a place is added in front, code and hint stay") {
  const Error error = fail(Errc::kNotFound, "no such job", "rtrain list shows the jobs").in("job 7");
  CHECK(error.message() == "job 7: no such job");
  CHECK(error.code() == Errc::kNotFound);
  CHECK(error.hint() == "rtrain list shows the jobs");
}

TEST_CASE("result: value() of an error throws the error") {
  const Result<int> failed = fail(Errc::kLimit, "too many");
  REQUIRE_FALSE(failed.has_value());
  try {
    (void)failed.value();
    FAIL("nothing was thrown");
  } catch (const ErrorException& e) {
    CHECK(e.error().code() == Errc::kLimit);
    CHECK(std::string(e.what()) == "too many");
  }
}

TEST_CASE("id: kinds do not mix") {
  STATIC_REQUIRE_FALSE(std::is_convertible_v<JobId, Attempt>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<int, JobId>);
  CHECK(JobId(2) > JobId(1));
  CHECK(to_string(JobId(12)) == "12");
}

}  // namespace result_test
