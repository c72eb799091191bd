#include "daemon/head/api/documents.h"

#include "tests/support/catch.h"

namespace documents_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

proto::CheckpointRecord checkpoint(std::int64_t index, proto::Json metrics) {
  return {"/r/checkpoint_" + std::to_string(index), index, std::move(metrics)};
}

std::vector<std::int64_t> indices(const std::vector<proto::CheckpointRecord>& checkpoints) {
  std::vector<std::int64_t> result;
  for (const auto& c : checkpoints) result.push_back(c.index);
  return result;
}

JobRecord record(core::JobPhase phase) {
  JobRecord record;
  auto& s = record.state;
  s.id = JobId(7);
  auto spec = *s.spec;
  spec.name = "fashion";
  s.spec = std::move(spec);
  s.run_dir = "/r";
  s.phase = phase;
  s.attempt = Attempt(2);
  s.failures = 1;
  s.error =
      proto::JobError{"signal", "rank 1 on node b: was killed by signal 9 (Killed)", 1, "b", 1, {}, {"last"}};
  s.verdict = "failure 1: restarted (max_failures is 2)";
  s.ranks.push_back({{0, "a", 0, 0, {3}}, core::RankPhase::kRunning, 4711, {}});
  return record;
}

}  // namespace

TEST_CASE("documents: the best checkpoints come first") {
  const std::vector<proto::CheckpointRecord> kept{
      checkpoint(0, {{"loss", 0.5}}),  checkpoint(1, {{"loss", 0.25}}), checkpoint(2, {{"other", 1}}),
      checkpoint(3, {{"loss", 0.75}}), checkpoint(4, {{"loss", 0.25}}), checkpoint(5, {{"loss", "much"}})};
  CHECK(indices(best_first(kept, {})) == std::vector<std::int64_t>{5, 4, 3, 2, 1, 0});
  proto::CheckpointConfig config;
  config.checkpoint_score_attribute = "loss";
  config.score_is_max = false;
  // ties and those without: newest first
  CHECK(indices(best_first(kept, config)) == std::vector<std::int64_t>{4, 1, 0, 3, 5, 2});
  config.score_is_max = true;
  CHECK(indices(best_first(kept, config)) == std::vector<std::int64_t>{3, 0, 4, 1, 5, 2});
  CHECK(best_first({}, config).empty());
}

TEST_CASE("documents: a job's reason is why it waits, then the last verdict, then who cancelled it") {
  CHECK(job_doc(record(core::JobPhase::kQueued), {"waits behind job 6", 2, 0}).reason ==
        "waits behind job 6");
  CHECK(job_doc(record(core::JobPhase::kRunning)).reason == "failure 1: restarted (max_failures is 2)");
  auto cancelled = record(core::JobPhase::kCancelled);
  cancelled.state.cancel_requested = true;
  cancelled.state.cancelled_by = "ann";
  CHECK(job_doc(cancelled).reason == "cancelled by ann");
}

TEST_CASE("documents: a job shows where its ranks are") {
  const auto doc = job_doc(record(core::JobPhase::kRunning));
  CHECK(doc.state == "RUNNING");
  REQUIRE(doc.ranks.size() == 1);
  CHECK(doc.ranks[0].node == "a");
  CHECK(doc.ranks[0].state == "RUNNING");
  CHECK(doc.ranks[0].pid == 4711);
  CHECK(doc.ranks[0].gpus == std::vector<int>{3});
}

TEST_CASE("documents: the error stands in the result of a failed job only") {
  CHECK(result_doc(record(core::JobPhase::kFailed)).error.has_value());
  for (const auto phase : {core::JobPhase::kQueued, core::JobPhase::kRunning, core::JobPhase::kSucceeded,
                           core::JobPhase::kCancelled}) {
    const auto doc = result_doc(record(phase));
    CHECK_FALSE(doc.error.has_value());
    CHECK(proto::Json(doc).at("error").is_null());
  }
}

TEST_CASE("documents: a result without a report has empty metrics and no checkpoint") {
  auto bare = record(core::JobPhase::kSucceeded);
  auto doc = result_doc(bare);
  CHECK(doc.metrics == proto::Json::object());
  CHECK_FALSE(doc.checkpoint.has_value());
  CHECK(doc.attempts == 2);
  bare.state.checkpoints = {checkpoint(0, {}), checkpoint(3, {})};
  doc = result_doc(bare);
  CHECK(doc.checkpoint->index == 3);
  CHECK(doc.best_checkpoints.size() == 2);
}

}  // namespace documents_test
