#include "cli/result_block.h"
#include "tests/support/catch.h"

namespace result_block_test {

using namespace rtrain;
using namespace rtrain::cli;

namespace {

proto::ResultDoc succeeded() {
  proto::ResultDoc doc;
  doc.id = JobId(42);
  doc.name = "mnist";
  doc.state = "SUCCEEDED";
  doc.metrics = {{"accuracy", 0.91}, {"loss", 0.213}};
  doc.checkpoint = proto::CheckpointRecord{"/runs/m/checkpoint_000009", 9, {{"loss", 0.213}}};
  doc.best_checkpoints = {{"/runs/m/checkpoint_000007", 7, {{"loss", 0.19}}}, *doc.checkpoint};
  doc.path = "/runs/m";
  doc.attempts = 1;
  return doc;
}

}  // namespace

TEST_CASE("result_block: a Result in a few lines", "[unit][cli]") {
  proto::JobDoc job;
  job.started_ms = 1000;
  job.ended_ms = 73'000;
  CHECK(result_block(succeeded(), job, "", false) ==
        "job 42 (mnist): SUCCEEDED in 1m 12s\n"
        "  metrics     accuracy=0.91, loss=0.213\n"
        "  checkpoint  /runs/m/checkpoint_000009\n"
        "  best        /runs/m/checkpoint_000007  (loss=0.19)\n"
        "  path        /runs/m\n");
}

TEST_CASE("result_block: a failure shows rank, cause, last words, attempts and where the log is",
          "[unit][cli]") {
  proto::ResultDoc doc;
  doc.id = JobId(7);
  doc.name = "x";
  doc.state = "FAILED";
  doc.path = "/runs/x";
  doc.attempts = 3;
  doc.error = proto::JobError{.kind = "signal",
                              .message = "rank 1 on node b: was killed by signal 9 (Killed)",
                              .rank = 1,
                              .node = "b",
                              .attempt = 3,
                              .log_tail = {"step 10", "\x1b[2Jloading"}};
  proto::JobDoc job;
  job.max_failures = 2;
  CHECK(log_command(*doc.error, "7") == "rtrain logs 7 --rank 1 --attempt 3");
  CHECK(result_block(doc, job, log_command(*doc.error, "7"), false) ==
        "error: rank 1 on node b: was killed by signal 9 (Killed)\n"
        "  its last log lines:\n"
        "    step 10\n"
        "    loading\n"
        "  attempt 3 of 3 (max_failures 2)\n"
        "hint: the whole log: rtrain logs 7 --rank 1 --attempt 3\n"
        "job 7 (x): FAILED, 3 attempts\n"
        "  path        /runs/x\n");
  CHECK(result_block(doc, std::nullopt, "", false).find("  attempt 3\n") != std::string::npos);
  job.array = proto::ArrayTask{JobId(5), 2, 3, 0, 0, 2, 1};
  CHECK(result_block(doc, job, "", false).find("job 5_2 (x): FAILED") != std::string::npos);
}

TEST_CASE("result_block: a job that was given up with tries left says why") {
  proto::ResultDoc doc;
  doc.state = "FAILED";
  doc.error = proto::JobError{.kind = "exit", .message = "exited with code 3", .attempt = 2};
  proto::JobDoc job;
  job.state = "FAILED";
  job.failures = job.max_failures = 2;
  job.reason = "user failure 2: not restarted, the same error came twice running";
  CHECK(result_block(doc, job, "", false)
            .find("  attempt 2 of 3 (max_failures 2)\n"
                  "  user failure 2: not restarted, the same error came twice running\n") !=
        std::string::npos);
  job.failures = 3;  // the numbers say it
  CHECK(result_block(doc, job, "", false).find("not restarted") == std::string::npos);
}

TEST_CASE("result_block: reports that were dropped are told", "[unit][cli]") {
  auto doc = succeeded();
  doc.reports = 70;
  CHECK(result_block(doc, std::nullopt, "", false).find("reports") == std::string::npos);
  doc.reports_dropped = 30;
  CHECK(result_block(doc, std::nullopt, "", false).find("  reports     30 of 100 were dropped: ") !=
        std::string::npos);
}

}  // namespace result_block_test
