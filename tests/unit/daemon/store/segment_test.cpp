#include "daemon/store/segment_files.h"

#include "daemon/store/recovery.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <filesystem>
#include <fstream>

namespace segment_test {

using namespace rtrain;
using namespace rtrain::store;

namespace {

proto::MetricPoint point(std::int64_t seq, const std::string& checkpoint = "") {
  return {1, seq, 1000 + seq, {{"loss", 1.0 / static_cast<double>(seq)}}, checkpoint};
}

struct Files {
  test::TempDir folder;
  std::string dir = folder.path().string();
  std::unique_ptr<SegmentFiles> files =
      std::make_unique<SegmentFiles>(dir, SegmentFiles::Options{left_to_the_system(), 2, 400});

  void write(JobId id, std::int64_t first, std::int64_t last, bool has_event = false) {
    for (auto seq = first; seq <= last; ++seq) {
      std::string records;
      encode_point(records, point(seq));
      if (has_event) mark_as_event(records, 0);
      seal(records);
      REQUIRE(files->append(id, records, 1, 0).has_value());
    }
  }
  /// As a start finds it whose index has `row`.
  [[nodiscard]] MetricTail find(SegmentRow row = {}, std::int64_t last_seq = 0) const {
    core::JobState state;
    state.id = JobId(1);
    state.attempt = Attempt(1);
    state.last_seq = last_seq;
    auto tail = recover_tail(dir, state, row);
    REQUIRE(tail.has_value());
    return *tail;
  }
  [[nodiscard]] std::string path(std::int64_t segment) const { return segment_path(dir, JobId(1), segment); }
};

}  // namespace

TEST_CASE("segments: points come back, across files") {
  Files f;
  f.write(JobId(1), 1, 20);
  REQUIRE(f.files->sync_all().has_value());
  const auto rows = f.files->durable(JobId(1));
  REQUIRE(rows.size() > 2);
  CHECK(rows.back().end() == 20);
  std::int64_t seq = 0;
  for (const auto& row : rows) {
    CHECK(row.first == seq);
    const auto text = *read_range(f.path(row.segment), kSegmentHeaderBytes, row.bytes);
    SegmentScan scan(text, kSegmentHeaderBytes);
    while (const auto record = scan.next()) {
      const auto read = *to_point(*record, "file");
      CHECK(read.seq == ++seq);
      CHECK(read.metrics["loss"] == 1.0 / static_cast<double>(seq));
      CHECK(read.time_ms == 1000 + seq);
    }
    CHECK(scan.problem().empty());
  }
  CHECK(seq == 20);
}

TEST_CASE("segments: a start finds what the index does not know, and cuts a torn end off") {
  Files f;
  f.write(JobId(1), 1, 12);
  const auto whole = f.find();
  CHECK(whole.rows.back().end() == 12);
  CHECK(whole.last->seq == 12);
  const auto last = f.path(whole.rows.back().segment);
  std::filesystem::resize_file(last, std::filesystem::file_size(last) - 3);
  const auto torn = f.find();
  CHECK(torn.rows.back().end() == 11);
  CHECK(torn.last->seq == 11);
  CHECK(f.find().rows.back() == torn.rows.back());  // the torn end is gone
  // With an index, from there on; and it goes on behind.
  CHECK(f.find(torn.rows.front()).rows.back().end() == 11);
  f.files = std::make_unique<SegmentFiles>(f.dir, SegmentFiles::Options{left_to_the_system(), 2, 400});
  f.files->adopt(JobId(1), torn.rows);
  f.write(JobId(1), 12, 13);
  CHECK(f.find().rows.back().end() == 13);
}

TEST_CASE("segments: a report whose event is not in the journal is not taken, nor what came after it") {
  Files f;
  f.write(JobId(1), 1, 2);
  f.write(JobId(1), 3, 3, true);
  f.write(JobId(1), 4, 4);
  const auto with = f.find({}, 3);
  CHECK(with.rows.back().end() == 4);
  const auto without = f.find({}, 0);
  CHECK(without.rows.back().end() == 2);
  CHECK(f.find({}, 3).rows.back().end() == 2);  // cut off: the agent sends it again
}

TEST_CASE("segments: a file that is shorter than the index says is damaged and stays as it is") {
  Files f;
  f.write(JobId(1), 1, 2);
  const auto row = f.find().rows.back();
  std::filesystem::resize_file(f.path(0), static_cast<std::uintmax_t>(row.bytes - 1));
  const auto damaged = f.find(row);
  CHECK(damaged.damaged);
  f.files = std::make_unique<SegmentFiles>(f.dir, SegmentFiles::Options{left_to_the_system(), 2, 400});
  f.files->adopt(JobId(1), damaged.rows, true);
  f.write(JobId(1), 3, 3);
  REQUIRE(f.files->sync_all().has_value());
  CHECK(f.files->durable(JobId(1)).back().segment == 1);
  CHECK(f.files->durable(JobId(1)).back().first == 2);
}

TEST_CASE("segments: more jobs than open files") {
  Files f;
  for (int round = 0; round < 3; ++round)
    for (int id = 1; id <= 5; ++id) f.write(JobId(id), round + 1, round + 1);
  REQUIRE(f.files->sync_all().has_value());
  for (int id = 1; id <= 5; ++id) CHECK(f.files->durable(JobId(id)).back().end() == 3);
  CHECK_FALSE(f.files->dirty());
}

}  // namespace segment_test
