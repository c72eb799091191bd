#include "worker/runtime/metrics_log.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "worker/runtime/run_record.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace metrics_log_test {

using namespace rtrain;
using namespace std::chrono_literals;

namespace {

proto::RankReport report(std::int64_t seq, bool checkpoint = false) {
  proto::RankReport made;
  made.key = {JobId(1), Attempt(1), 0};
  made.seq = seq;
  if (checkpoint) made.checkpoint = proto::CheckpointRecord{"/runs/checkpoint_000000", 0, {}};
  return made;
}

}  // namespace

TEST_CASE("metrics log: lines in order, in a folder that it makes", "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  runtime::MetricsLog log(run);
  for (int seq = 1; seq <= 100; ++seq) REQUIRE(log.append(report(seq)).has_value());
  REQUIRE(log.flush(10s).has_value());
  const auto rows = runtime::read_metrics(run);
  REQUIRE(rows.has_value());
  REQUIRE(rows->size() == 100);
  for (std::size_t i = 0; i < 100; ++i) CHECK((*rows)[i]["report"] == i + 1);
  CHECK(log.dropped() == 0);
}

TEST_CASE(
    "metrics log: storage that does not answer holds up nobody; the newest lines and those with a checkpoint "
    "stay",
    "[unit][runtime]") {
  const test::TempDir dir;
  const auto run = (dir / "run").string();
  std::filesystem::create_directory(run);
  REQUIRE(::mkfifo((run + "/metrics.jsonl").c_str(), 0600) == 0);  // opening it waits for a reader
  runtime::MetricsLog log(run, 6 * runtime::metrics_line(run, report(10)).size());
  for (int seq = 1; seq <= 20; ++seq) REQUIRE(log.append(report(seq, seq == 3)).has_value());
  CHECK(log.dropped() >= 13);  // 20, less the 6 that fit and the one that is being written
  CHECK(log.flush(1ms).error().code() == Errc::kTimeout);
  const int reader = ::open((run + "/metrics.jsonl").c_str(), O_RDWR | O_NONBLOCK);
  REQUIRE(log.flush(10s).has_value());
  std::string text(1u << 16, '\0');
  text.resize(static_cast<std::size_t>(::read(reader, text.data(), text.size())));
  ::close(reader);
  std::istringstream lines(text);
  std::vector<std::int64_t> kept;
  for (std::string line; std::getline(lines, line);)
    kept.push_back(proto::parse_json(line).value()["report"].get<std::int64_t>());
  REQUIRE(kept.size() >= 5);
  CHECK(std::ranges::count(kept, 3) == 1);
  CHECK(std::vector(kept.end() - 4, kept.end()) == std::vector<std::int64_t>{17, 18, 19, 20});
}

TEST_CASE("metrics log: an error comes out at the next line and at the end", "[unit][runtime]") {
  const test::TempDir dir;
  std::ofstream(dir / "run") << "a file";
  runtime::MetricsLog log((dir / "run").string());
  REQUIRE(log.append(report(1)).has_value());
  CHECK_FALSE(log.flush(10s).has_value());
  CHECK_FALSE(log.append(report(2)).has_value());
}

}  // namespace metrics_log_test
