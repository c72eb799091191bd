#include "worker/runtime/retention.h"

#include "tests/support/catch.h"

#include <cmath>

namespace runtime_retention_test {

using namespace rtrain;

namespace {

proto::CheckpointRecord record(std::int64_t index, proto::Json metrics) {
  return {"/run/checkpoint_" + std::to_string(index), index, std::move(metrics)};
}

/// Scores by index; null: the metric was not reported.
std::vector<proto::CheckpointRecord> with_loss(const std::vector<proto::Json>& losses) {
  std::vector<proto::CheckpointRecord> records;
  for (std::size_t i = 0; i < losses.size(); ++i)
    records.push_back(record(static_cast<std::int64_t>(i),
                             losses[i].is_null() ? proto::Json::object() : proto::Json{{"loss", losses[i]}}));
  return records;
}

std::vector<std::int64_t> indices(const std::vector<proto::CheckpointRecord>& records) {
  std::vector<std::int64_t> found;
  for (const auto& r : records) found.push_back(r.index);
  return found;
}

using Indices = std::vector<std::int64_t>;
const double kNan = std::nan("");

}  // namespace

TEST_CASE("retention: what is being validated stays, and counts with its metrics once it was",
          "[unit][runtime]") {
  const proto::CheckpointConfig most_one{1, "accuracy", true};
  std::vector<proto::CheckpointRecord> records;
  for (std::int64_t index = 0; index < 4; ++index) {
    records.push_back(record(index, {{"accuracy", 0.1 * static_cast<double>(index)}}));
    records.back().validation.emplace();
  }
  records[3].validation.reset();
  CHECK(indices(runtime::to_delete(records, most_one)).empty());
  for (auto& one : {0, 1})
    records[static_cast<std::size_t>(one)].validation->status = proto::ValidationStatus::kFailed;
  CHECK(indices(runtime::to_delete(records, most_one)) == Indices{0, 1});
  records[1].validation->status = proto::ValidationStatus::kValidated;
  records[1].metrics["accuracy"] = 0.9;
  CHECK(indices(runtime::to_delete(records, most_one)) == Indices{0});
  // None has the score before the first validation has ended: all stay.
  for (auto& one : records) one.metrics = proto::Json::object();
  CHECK(indices(runtime::to_delete(records, most_one)).empty());
}

TEST_CASE("retention: which checkpoints go", "[unit][runtime]") {
  struct Row {
    const char* what;
    std::vector<proto::Json> losses;
    const proto::CheckpointConfig* config;
    Indices deleted;
  };
  const proto::CheckpointConfig all{}, newest_two{.num_to_keep = 2}, least_two{2, "loss", false},
      most_one{1, "loss", true};
  const std::vector<Row> rows{
      {"nothing to keep or delete", {}, &newest_two, {}},
      {"without num_to_keep all stay", {3, 2, 1}, &all, {}},
      {"fewer than num_to_keep", {3}, &newest_two, {}},
      {"by age", {1, 2, 3, 4}, &newest_two, {0, 1}},
      {"the two least", {5, 1, 4, 2}, &least_two, {0, 2}},
      {"the newest stays though it is the worst", {1, 2, 9}, &least_two, {}},
      {"and goes when a newer one is there", {1, 2, 9, 3}, &least_two, {2}},
      {"the most", {1, 7, 3, 2}, &most_one, {0, 2}},
      {"of equals the newer stays", {5, 5, 5}, &least_two, {0}},
      {"without the metric last", {nullptr, 8, nullptr, 9, 10}, &least_two, {0, 2}},
      {"NaN is no score", {kNan, 8, 9, 1}, &least_two, {0, 2}},
      {"NaN as JSON text spells it", {"NaN", 8, 9, 1}, &least_two, {0, 2}},
      {"infinity is one, the worst", {"Infinity", 8, nullptr, 1}, &least_two, {0, 2}},
      {"a metric that is no number", {"high", 8, 9, 1}, &least_two, {0, 2}},
      {"a score that none has deletes none", {nullptr, nullptr, nullptr, nullptr}, &least_two, {}},
      {"as when it is no number in any", {"high", "low", "high"}, &most_one, {}},
      {"NaN in all goes by age", {kNan, kNan, kNan}, &most_one, {0, 1}},
  };
  for (const auto& row : rows) {
    INFO(row.what);
    CHECK(indices(runtime::to_delete(with_loss(row.losses), *row.config)) == row.deleted);
  }
}

TEST_CASE("retention: what another job is to go on from stays until it is not pinned any more",
          "[unit][runtime]") {
  const proto::CheckpointConfig newest{.num_to_keep = 1};
  const auto records = with_loss({3, 2, 1, 0});
  const runtime::Pins pins{records[1].path, "/other/checkpoint_0"};
  CHECK(indices(runtime::to_delete(records, newest, pins)) == Indices{0, 2});
  // A pin that came after the decision, and before the deletion.
  CHECK(indices(runtime::not_pinned(runtime::to_delete(records, newest), pins)) == Indices{0, 2});
  CHECK(indices(runtime::not_pinned(records, {})) == Indices{0, 1, 2, 3});

  // An attempt that begins deletes later what the one before had dropped and could not delete.
  CHECK(runtime::left_pinned(records, newest, {records[1].path}).empty());
  CHECK(runtime::left_pinned({records[3]}, {}, {records[1].path}).empty());
  const auto left = runtime::left_pinned({records[3]}, newest, {records[1].path});
  REQUIRE(left.size() == 1);
  CHECK(left[0].path == records[1].path);
}

TEST_CASE("retention: best first", "[unit][runtime]") {
  CHECK(indices(runtime::by_score(with_loss({2, nullptr, 1, 3, nullptr}), {3, "loss", false})) ==
        Indices{2, 0, 3, 4, 1});
  CHECK(indices(runtime::by_score(with_loss({2, 1, 3}), {})) == Indices{2, 1, 0});
}

}  // namespace runtime_retention_test
