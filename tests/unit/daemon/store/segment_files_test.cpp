// What the metric files have forced to the disk when the journal relies on them.
#include "daemon/store/segment_files.h"

#include "tests/support/catch.h"
#include "tests/support/power_cut.h"
#include "tests/support/temp_dir.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace segment_files_test {

using namespace rtrain;
using namespace rtrain::store;

namespace {

struct Files {
  test::TempDir folder;
  std::string dir = folder.path().string();
  test::PowerCut disk{dir};
  SegmentFiles files;

  explicit Files(std::size_t open_max = 2) : files(dir, {disk, open_max, 400}) {}

  Result<Done> write(int id, std::int64_t seq) {
    std::string records;
    encode_point(records, {1, seq, 1000 + seq, {{"loss", 1.0}}, ""});
    seal(records);
    return files.append(JobId(id), records, 1, 0);
  }
  /// Rows that the index would get now, of files that a power cut would take or cut off.
  [[nodiscard]] std::vector<std::string> lost_by_a_power_cut() const {
    std::vector<std::string> lost;
    for (const auto& [key, row] : files.rows()) {
      const auto path = segment_path(dir, key.first, key.second);
      if (disk.bytes_left(path) < row.bytes) lost.push_back(path);
    }
    return lost;
  }
  [[nodiscard]] std::int64_t points_left(int id) const {
    std::int64_t points = 0;
    for (const auto& [key, row] : files.rows())
      if (key.first == JobId(id) && disk.bytes_left(segment_path(dir, key.first, key.second)) >= row.bytes)
        points = row.end();
    return points;
  }
};

}  // namespace

TEST_CASE("segment files: what a commit relies on outlasts a power cut") {
  Files f;
  std::map<int, std::int64_t> seqs;
  unsigned random = 1;
  // more than are open at once; with 50, so many that one syncfs() does it
  const int jobs = GENERATE(2, 3, 5, 50);
  for (int step = 0; step < 600; ++step) {
    random = random * 1664525 + 1013904223;
    const int id = 1 + static_cast<int>(random >> 16) % jobs;
    if ((random >> 8) % 7 != 0) {
      REQUIRE(f.write(id, ++seqs[id]).has_value());
      continue;
    }
    // An event of that job is about to be committed, and with it the rows.
    REQUIRE(f.files.sync({JobId(id)}).has_value());
    REQUIRE(f.points_left(id) == (seqs.contains(id) ? seqs[id] : 0));
    REQUIRE(f.lost_by_a_power_cut().empty());
  }
  REQUIRE(f.files.sync_all().has_value());
  for (const auto& [id, seq] : seqs) CHECK(f.points_left(id) == seq);
  CHECK(f.lost_by_a_power_cut().empty());
}

TEST_CASE("segment files: a folder that cannot be synced now is synced later, and nothing counts before") {
  Files f;
  REQUIRE(f.write(1, 1).has_value());
  f.disk.out_of_files = true;
  REQUIRE(f.write(2, 1).has_value());
  REQUIRE(f.write(3, 1).has_value());  // the file of job 1 is closed for it
  const auto synced = f.files.sync({JobId(1)});
  REQUIRE(synced.has_error());
  CHECK(synced.error().code() == Errc::kLimit);
  CHECK(f.lost_by_a_power_cut().empty());
  f.disk.out_of_files = false;
  REQUIRE(f.files.sync({JobId(1)}).has_value());
  CHECK(f.points_left(1) == 1);
}

TEST_CASE("segment files: without another file descriptor a file makes way for the next one") {
  Files f(1000);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(next);
  const rlimit low{static_cast<rlim_t>(next) + 3, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  int written = 0;
  for (std::int64_t seq = 1; seq <= 2; ++seq)
    for (int id = 1; id <= 10; ++id) written += f.write(id, seq).has_value() ? 1 : 0;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(written == 20);
  REQUIRE(f.files.sync_all().has_value());
  for (int id = 1; id <= 10; ++id) CHECK(f.points_left(id) == 2);
}

}  // namespace segment_files_test
