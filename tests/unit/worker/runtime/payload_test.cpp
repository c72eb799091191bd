#include "worker/runtime/payload.h"

#include "common/os/file.h"
#include "proto/message/message.h"
#include "proto/record/rank_files.h"
#include "worker/runtime/record.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace payload_test {

using namespace rtrain;
using namespace rtrain::runtime;

namespace {

proto::Json nested(int levels) {
  proto::Json value = 1;
  for (int i = 0; i < levels; ++i) value = proto::Json::array({value});
  return value;
}

}  // namespace

TEST_CASE("payload: what is above the limit is refused with both numbers", "[unit][runtime][F08]") {
  CHECK(check_payload({{"loss", 0.5}}, "the metrics", kMetricsBytesMax, "").has_value());
  const auto refused = check_payload({{"text", std::string(5u << 20, 'x')}}, "the metrics", kMetricsBytesMax,
                                     "put what is large into a file");
  REQUIRE(refused.has_error());
  CHECK(refused.error().code() == Errc::kLimit);
  CHECK(refused.error().message() ==
        "the metrics has 5242891 bytes as JSON; at most 262144 (256 KiB) are stored");
  CHECK(refused.error().hint() == "put what is large into a file");
  CHECK(check_payload(std::string(kReturnValueBytesMax - 2, 'x'), "the value", kReturnValueBytesMax, "")
            .has_value());
  CHECK(check_payload(std::string(kReturnValueBytesMax - 1, 'x'), "the value", kReturnValueBytesMax, "")
            .has_error());
  CHECK(check_payload(std::string(kMetricsBytesMax / 6 + 1, '\x01'), "the value", kMetricsBytesMax, "")
            .has_error());  // as JSON it is six times as long
}

TEST_CASE("payload: what is nested too deep is refused", "[unit][runtime][F08]") {
  CHECK(check_payload(nested(kDepthMax), "the metrics", kMetricsBytesMax, "").has_value());
  CHECK(check_payload(nested(kDepthMax + 1), "the metrics", kMetricsBytesMax, "").error().message() ==
        "the metrics is nested deeper than 32 levels");
}

TEST_CASE("payload: the largest report that is taken fits into every message that carries it",
          "[unit][runtime][F08]") {
  proto::Json metrics = nested(kDepthMax - 1);
  metrics = {{"deep", metrics}, {"text", std::string(kMetricsBytesMax - 200, '"')}};
  metrics["text"] = std::string((kMetricsBytesMax - 400) / 2, '"');
  REQUIRE(check_payload(metrics, "the metrics", kMetricsBytesMax, "").has_value());
  proto::RankReport report;
  report.metrics = metrics;
  report.checkpoint = proto::CheckpointRecord{"/run/checkpoint_000001", 1, metrics};
  const auto frame = proto::encode(report);
  CHECK(frame.json.size() <= proto::FrameLimits{}.json_bytes_max);
  CHECK(proto::decode(frame).has_value());
}

TEST_CASE("payload: of a long text the beginning is kept, in whole characters, and its size is told",
          "[unit][runtime][F22]") {
  CHECK(shortened("short") == "short");
  const auto text = shortened(std::string(100'000, 'x'));
  CHECK(text.starts_with(std::string(kErrorBytesMax, 'x') +
                         "... (100000 bytes, of which the first 65536 are kept"));
  std::string umlauts;
  for (int i = 0; i < 10; ++i) umlauts += "\xc3\xa4";
  CHECK(shortened(umlauts, 5).starts_with("\xc3\xa4\xc3\xa4... (20 bytes, of which the first 4 are kept"));
}

TEST_CASE("payload: an exception of megabytes can be read by the agent", "[unit][runtime][F22]") {
  const test::TempDir dir;
  const auto folder = dir.path().string();
  REQUIRE(write_error_record(folder, {"exception", "the cause; " + std::string(5u << 20, '\x01'), {}})
              .has_value());
  const auto error = proto::read_error(folder);
  REQUIRE(error.has_value());
  CHECK(error->message.starts_with("the cause; "));
  CHECK(error->message.find("(5242891 bytes, of which the first 65536 are kept") != std::string::npos);
}

}  // namespace payload_test
