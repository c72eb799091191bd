#include "daemon/agent/log_bound.h"

#include "common/os/file.h"
#include "daemon/agent/log_reader.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace log_bound_test {

using namespace rtrain;
using namespace rtrain::agent;

namespace {

constexpr std::int64_t kMax = 1 << 20;

/// A log of lines of 64 bytes that are numbered.
struct Log {
  test::TempDir dir;
  std::string path = (dir / "log").string();
  std::int64_t lines = 0;

  void append(std::int64_t count) {
    std::ofstream file(path, std::ios::app);
    for (; count > 0; --count, ++lines) {
      auto text = std::to_string(lines);
      file << std::string(63 - text.size(), '.') << text << "\n";
    }
  }
  std::int64_t first() const {
    const int fd = ::open(path.c_str(), O_RDONLY);
    const auto begin = log_begin(fd);
    ::close(fd);
    return begin;
  }
  struct stat info() const {
    struct stat result {};
    ::stat(path.c_str(), &result);
    return result;
  }
  proto::LogData read(std::int64_t offset, std::int64_t bytes_max = 64) const {
    proto::LogRead request;
    request.offset = offset;
    request.bytes_max = bytes_max;
    return read_log(path, request, true);
  }
};

std::string line(std::int64_t number) {
  const auto text = std::to_string(number);
  return std::string(63 - text.size(), '.') + text + "\n";
}

}  // namespace

TEST_CASE("log bound: a log within it is left alone") {
  Log log;
  CHECK(bound_log(log.path, kMax).error().code() == Errc::kNotFound);
  log.append(kMax / 64);
  const auto cut = bound_log(log.path, kMax);
  REQUIRE(cut.has_value());
  CHECK(*cut == 0);
  CHECK(log.first() == 0);
}

TEST_CASE("log bound: the oldest part is cut, its space is free and offsets stay") {
  Log log;
  log.append(4 * kMax / 64);
  const auto cut = bound_log(log.path, kMax);
  REQUIRE(cut.has_value());
  const auto first = log.first();
  CHECK(*cut == first);
  CHECK(first % 4096 == 0);
  CHECK(4 * kMax - first >= kMax / 8 * 7);
  CHECK(4 * kMax - first <= kMax);
  CHECK(log.info().st_size == 4 * kMax);
  CHECK(log.info().st_blocks * 512 <= kMax + 65536);
  // Again: nothing to do until an eighth has come.
  CHECK(*bound_log(log.path, kMax) == 0);
  log.append(kMax / 8 / 64 - 100);
  CHECK(*bound_log(log.path, kMax) == 0);
  log.append(300);
  CHECK(*bound_log(log.path, kMax) > 0);
  CHECK(log.read(log.info().st_size - 64).data == line(log.lines - 1));
}

TEST_CASE("log bound: who reads what was cut goes on at the first byte there is") {
  Log log;
  log.append(4 * kMax / 64);
  REQUIRE(bound_log(log.path, kMax).has_value());
  const auto first = log.first();
  for (const std::int64_t asked : {std::int64_t{0}, std::int64_t{1000}, first - 1, first}) {
    const auto data = log.read(asked);
    CHECK(data.offset == first);
    CHECK(data.data == line(first / 64));
  }
  CHECK(log.read(first + 64).offset == first + 64);
  CHECK(log.read(-1).data == line(log.lines - 1));
  const auto all = log.read(-100'000'000);  // more lines than are left
  CHECK(all.offset == first);
  CHECK(all.data == line(first / 64));
}

}  // namespace log_bound_test
