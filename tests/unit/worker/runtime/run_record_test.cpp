#include "worker/runtime/run_record.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "worker/runtime/record.h"

#include <cmath>
#include <fstream>
#include <iterator>

namespace run_record_test {

using namespace rtrain;

namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("run record: what was reported is read again", "[unit][runtime]") {
  const test::TempDir dir;
  CHECK(runtime::read_metrics(dir.path().string())->empty());
  proto::RankReport report{
      .key = {JobId(1), Attempt(2), 0}, .seq = 1, .time_ms = 0, .metrics = {{"loss", 0.5}}};
  REQUIRE(runtime::append_metrics(dir.path().string(), report).has_value());
  report.seq = 2;
  report.metrics = {{"loss", std::nan("")}};
  report.checkpoint = proto::CheckpointRecord{(dir / "checkpoint_000004").string(), 4, {}};
  REQUIRE(runtime::append_metrics(dir.path().string(), report).has_value());
  report.checkpoint->path = "/elsewhere/checkpoint";
  REQUIRE(runtime::append_metrics(dir.path().string(), report).has_value());
  std::ofstream(dir / "metrics.jsonl", std::ios::app) << "{\"attempt\": 3, \"met";  // cut off by a crash
  const auto rows = runtime::read_metrics(dir.path().string());
  REQUIRE(rows.has_value());
  REQUIRE(rows->size() == 3);
  CHECK(rows->at(0) == proto::Json{{"attempt", 2},
                                   {"report", 1},
                                   {"time", "1970-01-01T00:00:00.000Z"},
                                   {"metrics", {{"loss", 0.5}}},
                                   {"checkpoint", nullptr}});
  CHECK(std::isnan(rows->at(1).at("metrics").at("loss").get<double>()));
  CHECK(rows->at(1).at("checkpoint") == "checkpoint_000004");
  CHECK(rows->at(2).at("checkpoint") == "/elsewhere/checkpoint");
}

TEST_CASE("run record: how checkpoints are scored is read again", "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  CHECK(runtime::read_checkpoint_config(run) == proto::CheckpointConfig{});
  const proto::CheckpointConfig config{.checkpoint_score_attribute = "loss", .score_is_max = false};
  REQUIRE(runtime::write_checkpoint_config(run, config).has_value());
  CHECK(runtime::read_checkpoint_config(run) == config);
}

TEST_CASE("run record: params.json is the first attempt's", "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "a/b").string();
  REQUIRE(runtime::write_params(run, {{"lr", 0.1}}).has_value());
  REQUIRE(runtime::write_params(run, {{"lr", 0.2}}).has_value());
  CHECK(proto::parse_json(text_of(run + "/params.json")).value() == proto::Json{{"lr", 0.1}});
}

TEST_CASE("rank record: the first word counts", "[unit][runtime]") {
  const test::TempDir dir;
  REQUIRE(runtime::write_error_record(dir.path().string(), {"exception", "disk full", {}}).has_value());
  REQUIRE(runtime::write_error_record(dir.path().string(), {"exit", "exit(1)", {}}).has_value());
  CHECK(proto::parse_json(text_of(dir / "error.json")).value() ==
        proto::Json{{"kind", "exception"}, {"message", "disk full"}});
  REQUIRE(runtime::write_outcome_record(dir.path().string(), {1, 2}, false).has_value());
  CHECK(proto::parse_json(text_of(dir / "outcome.json")).value() ==
        proto::Json{{"return_value", {1, 2}}, {"yielded", false}});
}

}  // namespace run_record_test
