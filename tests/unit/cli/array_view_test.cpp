#include "cli/array_view.h"

#include "cli/job_rows.h"
#include "tests/support/catch.h"

namespace array_view_test {

using namespace rtrain;
using namespace rtrain::cli;

namespace {

/// Jobs 12_0, 12_1, ... of one array, in these states.
std::vector<proto::JobDoc> array_of(const std::vector<std::string>& states) {
  std::vector<proto::JobDoc> jobs;
  const int count = static_cast<int>(states.size());
  for (int i = 0; i < count; ++i) {
    auto& job = jobs.emplace_back();
    job.id = JobId(12 + i);
    job.name = "sweep";
    job.state = states[static_cast<std::size_t>(i)];
    job.array = proto::ArrayTask{JobId(12), i, count, 0, 0, count - 1, 1};
    job.submitted_ms = 500;
    if (job.state == "QUEUED") continue;
    job.attempt = 1;
    job.started_ms = 1000;
    if (has_ended(job.state)) job.ended_ms = 3000 + i * 1000;
    if (job.state == "SUCCEEDED") job.metrics = {{"loss", 0.5}};
    if (job.state == "FAILED")
      job.error = proto::JobError{.kind = "exit", .message = "rank 0 exited with code 3"};
  }
  return jobs;
}

std::string text_of(const Pieces& pieces) {
  std::string out;
  for (const auto& piece : pieces) out += piece.text;
  return out;
}

}  // namespace

TEST_CASE("array: the status is that of the worst end", "[F13]") {
  CHECK(exit_of_jobs(array_of({"SUCCEEDED", "SUCCEEDED"})) == 0);
  CHECK(exit_of_jobs(array_of({"SUCCEEDED", "CANCELLED"})) == 9);
  CHECK(exit_of_jobs(array_of({"CANCELLED", "FAILED", "SUCCEEDED"})) == 1);
  CHECK(exit_of_jobs(array_of({"FAILED", "QUEUED"})) == 7);  // not over
}

TEST_CASE("array: every end is told once, with what came of it", "[F13]") {
  ArrayView view({});
  CHECK(text_of(view.on_jobs(array_of({"RUNNING", "QUEUED", "QUEUED"}), 0)) ==
        "array 12: 1 RUNNING, 2 QUEUED\n");
  const auto later = array_of({"SUCCEEDED", "RUNNING", "QUEUED"});
  CHECK(text_of(view.on_jobs(later, 1)) == "job 12_0 (sweep): SUCCEEDED in 2.0s: loss=0.5\n");
  CHECK(text_of(view.on_jobs(later, 2)).empty());
  CHECK(text_of(view.on_jobs(later, 20)) == "array 12: 1 RUNNING, 1 QUEUED, 1 SUCCEEDED\n");
  CHECK(text_of(view.on_jobs(array_of({"SUCCEEDED", "FAILED", "CANCELLED"}), 40)) ==
        "job 12_1 (sweep): FAILED in 3.0s: rank 0 exited with code 3\njob 12_2 (sweep): CANCELLED in 4.0s\n");
}

TEST_CASE("array: on a terminal one line is redrawn and taken away", "[F13]") {
  ArrayView view({.live = true});
  CHECK(text_of(view.on_jobs(array_of({"RUNNING", "QUEUED"}), 0)) == "array 12: 1 RUNNING, 1 QUEUED");
  CHECK(text_of(view.on_jobs(array_of({"RUNNING", "RUNNING"}), 1)) == "\r\x1b[Karray 12: 2 RUNNING");
  CHECK(text_of(view.line().finish()) == "\r\x1b[K");
  CHECK(text_of(view.line().finish()).empty());
}

TEST_CASE("array: the results stand in a table with the counts below", "[F13]") {
  CHECK(array_block(array_of({"SUCCEEDED", "FAILED"}), 9000, 0, false) ==
        "ID    STATE      ATTEMPTS  TIME  RESULT\n"
        "12_0  SUCCEEDED         1  2.0s  loss=0.5\n"
        "12_1  FAILED            1  3.0s  rank 0 exited with code 3\n"
        "array 12_[0-1] (sweep): 1 FAILED, 1 SUCCEEDED in 3.0s\n");
}

TEST_CASE("array: its name tells the range") {
  auto job = array_of({"QUEUED"}).front();
  const auto name = [&](int count, int min, int max, int step) {
    job.array = proto::ArrayTask{JobId(12), min, count, 0, min, max, step};
    return array_name_of(job);
  };
  CHECK(name(100, 0, 99, 1) == "12_[0-99]");
  CHECK(name(5, 0, 8, 2) == "12_[0-8:2]");
  CHECK(name(3, 1, 9, 1) == "12_[1,...,9]");
  CHECK(name(1, 4, 4, 1) == "12_[4]");
}

TEST_CASE("array: it has one row among other jobs") {
  Table table = job_table({}, 9000);
  add_array(table, array_of({"RUNNING", "QUEUED", "SUCCEEDED"}), 9000, false);
  const auto text = table.str(0, false);
  CHECK(text.find("12_[0-2]  sweep  RUNNING") != std::string::npos);
  CHECK(text.find("1 RUNNING, 1 QUEUED, 1 SUCCEEDED\n") != std::string::npos);
  CHECK(text.find("12_0") == std::string::npos);
}

}  // namespace array_view_test
