#include "daemon/agent/log_reader.h"

#include "common/os/file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace log_reader_test {

using namespace rtrain;
using namespace rtrain::agent;

namespace {

proto::LogRead read_of(std::int64_t offset, std::int64_t bytes_max = 65536) {
  proto::LogRead read;
  read.request = 5;
  read.key = {JobId(1), Attempt(1), 0};
  read.offset = offset;
  read.bytes_max = bytes_max;
  return read;
}

struct LogFile {
  explicit LogFile(const std::string& text) : path((dir / "log").string()) {
    REQUIRE(os::write_file_atomic(path, text).has_value());
  }
  test::TempDir dir;
  std::string path;
};

}  // namespace

TEST_CASE("log reader: pieces by offset and by lines from the end") {
  const LogFile log("one\ntwo\nthree\n");  // 14 bytes
  struct Row {
    std::int64_t offset, bytes_max, at;
    const char* text;
    bool at_end;
  };
  const std::vector<Row> rows{
      {0, 65536, 0, "one\ntwo\nthree\n", true},
      {0, 5, 0, "one\nt", false},
      {4, 65536, 4, "two\nthree\n", true},
      {4, 4, 4, "two\n", false},
      {14, 65536, 14, "", true},
      {99, 65536, 14, "", true},
      {-1, 65536, 8, "three\n", true},
      {-2, 65536, 4, "two\nthree\n", true},
      {-3, 65536, 0, "one\ntwo\nthree\n", true},
      {-99, 65536, 0, "one\ntwo\nthree\n", true},
      {-2, 4, 4, "two\n", false},
  };
  for (const auto& row : rows) {
    INFO("offset " << row.offset << ", at most " << row.bytes_max);
    for (const bool live : {true, false}) {
      const auto data = read_log(log.path, read_of(row.offset, row.bytes_max), live);
      CHECK(data.request == 5);
      CHECK(data.error.empty());
      CHECK(data.offset == row.at);
      CHECK(data.data == row.text);
      CHECK(data.at_end == row.at_end);
      CHECK(data.complete == (row.at_end && !live));
    }
  }
}

TEST_CASE("log reader: a last line without an end is a line") {
  const LogFile log("one\ntorn");
  CHECK(read_log(log.path, read_of(-1), true).data == "torn");
  CHECK(read_log(log.path, read_of(-2), true).data == "one\ntorn");
}

TEST_CASE("log reader: an empty log") {
  const LogFile log("");
  for (const std::int64_t offset : {0, 7, -3}) {
    const auto data = read_log(log.path, read_of(offset), false);
    CHECK(data.offset == 0);
    CHECK(data.data.empty());
    CHECK(data.complete);
  }
}

TEST_CASE("log reader: a log that is not there is an error only when the rank is over") {
  test::TempDir dir;
  const auto starting = read_log((dir / "log").string(), read_of(0), true);
  CHECK(starting.error.empty());
  CHECK(starting.at_end);
  CHECK_FALSE(starting.complete);
  const auto never = read_log((dir / "log").string(), read_of(0), false);
  CHECK(never.error.find("no log of 1.1.0 on this node") != std::string::npos);
}

TEST_CASE("log reader: a piece is at most a frame's body, and lines are found across blocks") {
  std::string text;
  for (int line = 0; line < 40000; ++line)
    text += "this is line number " + std::to_string(line) + " of a long log\n";
  const LogFile log(text);
  REQUIRE(text.size() > (1u << 20));
  const auto whole = read_log(log.path, read_of(0, 1 << 30), false);
  CHECK(whole.data.size() == (1u << 20));
  CHECK_FALSE(whole.complete);
  const auto tail = read_log(log.path, read_of(-20000, 100), false);
  CHECK(tail.data.starts_with("this is line number 20000 of"));
}

}  // namespace log_reader_test
