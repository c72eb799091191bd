#include "cli/job_reference.h"

#include "tests/support/catch.h"

using namespace rtrain;
using namespace rtrain::cli;

TEST_CASE("job reference: a job, an index, several indices", "[unit][cli]") {
  CHECK(*parse_job_reference("12") == JobReference{12, {}});
  CHECK(*parse_job_reference("12_3") == JobReference{12, "3"});
  CHECK(*parse_job_reference("12_[3-7,9]") == JobReference{12, "3-7,9"});
  CHECK(*parse_job_reference("12_[0-8:4]") == JobReference{12, "0-8:4"});
  for (const char* text : {"", "0", "x", "12_", "_3", "12_x", "12_3-7", "12_[", "12_[]", "12_[3", "12_3]", "12_[0-9%2]", "12_[7-3]", "-1_3", "12__3"}) {
    INFO(text);
    const auto reference = parse_job_reference(text);
    REQUIRE_FALSE(reference.has_value());
    CHECK(reference.error().code() == Errc::kInvalidArgument);
  }
}

TEST_CASE("job reference: a job of an array is called by its index", "[unit][cli]") {
  proto::JobDoc job;
  job.id = JobId(15);
  CHECK(job_name_of(job) == "15");
  job.array.emplace();
  job.array->id = JobId(12);
  job.array->index = 3;
  CHECK(job_name_of(job) == "12_3");
}
