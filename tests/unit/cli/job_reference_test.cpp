#include "cli/job_reference.h"

#include "tests/support/catch.h"

namespace job_reference_test {

using namespace rtrain;
using namespace rtrain::cli;

TEST_CASE("job reference: a job, an index, several indices", "[unit][cli]") {
  CHECK(*parse_job_reference("12") == JobReference{12, {}});
  CHECK(*parse_job_reference("12_3") == JobReference{12, "3"});
  CHECK(*parse_job_reference("12_[3-7,9]") == JobReference{12, "3-7,9"});
  CHECK(*parse_job_reference("12_[0-8:4]") == JobReference{12, "0-8:4"});
  for (const char* text : {"", "0", "x", "12_", "_3", "12_x", "12_3-7", "12_[", "12_[]", "12_[3", "12_3]",
                           "12_[0-9%2]", "12_[7-3]", "-1_3", "12__3"}) {
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

TEST_CASE("job reference: what was done to an array is one line with the number of its jobs", "[unit][cli]") {
  std::vector<proto::JobDoc> jobs(3);
  for (int i = 0; i < 3; ++i) {
    auto& job = jobs[static_cast<std::size_t>(i)];
    job.id = JobId(12 + i);
    job.name = "sweep";
    job.state = i == 0 ? "RUNNING" : "QUEUED";
    job.array = proto::ArrayTask{JobId(12), i, 3, 0, 0, 2, 1};
  }
  const auto words = [](const proto::JobDoc& job) {
    return job.state == "QUEUED" ? ChangeWords{"is held", "are held"} : ChangeWords{"runs on", "run on"};
  };
  CHECK(change_line({12, {}}, jobs, words) == "array 12 (sweep): 2 jobs are held, 1 job runs on");
  CHECK(change_line({12, "1-2"}, std::span(jobs).subspan(1), words) ==
        "array 12_[1-2] (sweep): 2 jobs are held");
  CHECK(change_line({12, "1"}, std::span(jobs).subspan(1, 1), words) == "job 12_1 (sweep) is held");
  jobs[0].state = "SUCCEEDED";
  jobs[1].state = jobs[2].state = "CANCELLED";
  CHECK(nothing_to_cancel({12, {}}, jobs).message() ==
        "array 12 (sweep) has ended: 2 CANCELLED, 1 SUCCEEDED");
  jobs[2].state = "STOPPING";
  const auto stopping = nothing_to_cancel({12, {}}, jobs);
  CHECK(stopping.message() ==
        "array 12 (sweep): every job has ended or is being cancelled already: "
        "1 STOPPING, 1 CANCELLED, 1 SUCCEEDED");
  CHECK(stopping.hint() == "wait for the end: rtrain cancel --wait 12");
}

}  // namespace job_reference_test
