#include "common/log/delivery.h"
#include "common/log/line_writer.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <array>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace delivery_test {

using namespace rtrain;

namespace {

/// Two connected ends; the second one is read.
struct Ends {
  std::array<int, 2> fds{};
  explicit Ends(bool socket) {
    if (socket)
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds.data()) == 0);
    else
      REQUIRE(::pipe(fds.data()) == 0);
    if (!socket) std::swap(fds[0], fds[1]);
  }
  ~Ends() {
    for (const int fd : fds) ::close(fd);
  }
  [[nodiscard]] int written() const { return fds[0]; }
  /// All that is there now.
  [[nodiscard]] std::string read() const {
    std::string text;
    std::array<char, 65536> part;
    ::fcntl(fds[1], F_SETFL, O_NONBLOCK);
    for (ssize_t n = 0; (n = ::read(fds[1], part.data(), part.size())) > 0;)
      text.append(part.data(), static_cast<std::size_t>(n));
    return text;
  }
};

std::string line_of(int number) {
  return "line " + std::to_string(number) + " " + std::string(90, 'x') + "\n";
}

}  // namespace

TEST_CASE("log: a pipe or socket that nobody reads holds nothing up, and what was dropped is told", "[F14]") {
  const Ends ends(GENERATE(false, true));
  log::LineWriter writer(ends.written());
  constexpr int kLines = 20'000;  // 2 MB: more than a pipe and the writer hold
  for (int i = 0; i < kLines; ++i) writer.write(line_of(i));
  CHECK(writer.dropped() > 0);
  CHECK((::fcntl(ends.written(), F_GETFL) & O_NONBLOCK) == 0);  // others that share it are not disturbed
  std::string text;
  for (std::string part = ends.read(); !part.empty(); part = ends.read()) {
    text += part;
    writer.drain();
  }
  writer.write("after\n");
  text += ends.read();
  // Whole lines in order, then how many are missing, then what comes.
  std::istringstream lines(text);
  std::string line;
  int kept = 0;
  while (std::getline(lines, line) && line + "\n" == line_of(kept)) ++kept;
  CHECK(line == "[" + std::to_string(kLines - kept) +
                    " lines of this log were dropped here: its reader did not keep up]");
  REQUIRE(std::getline(lines, line));
  CHECK(line == "after");
  CHECK(writer.dropped() == kLines - kept);
}

TEST_CASE("log: a file gets every line", "[F14]") {
  const test::TempDir folder;
  const auto path = (folder / "log").string();
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
  {
    log::LineWriter writer(fd);
    for (int i = 0; i < 5000; ++i) writer.write(line_of(i));
    CHECK(writer.dropped() == 0);
  }
  ::close(fd);
  std::ifstream file(path);
  std::string line;
  for (int i = 0; i < 5000; ++i) {
    REQUIRE(std::getline(file, line));
    REQUIRE(line + "\n" == line_of(i));
  }
}

TEST_CASE("log: a forked child writes to its own stderr, and nothing of its parent's lines", "[F14]") {
  const Ends ends(false);
  const test::TempDir folder;
  const auto path = (folder / "log").string();
  const int shared = ::dup(ends.written());
  log::LineWriter writer(shared);
  for (int i = 0; i < 2000; ++i) writer.write(line_of(i));  // some of it waits
  writer.lock();
  const pid_t child = ::fork();
  if (child == 0) {
    writer.unlock_in_child();
    const int log = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
    ::dup2(log, shared);
    writer.write("of the child\n");
    ::_exit(writer.dropped() == 0 ? 0 : 1);
  }
  writer.unlock();
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK(text.str() == "of the child\n");
  CHECK(ends.read().find("of the child") == std::string::npos);
  ::close(shared);
}

TEST_CASE("log: lines that strangers cause are limited, and the rest is counted", "[F14]") {
  static log::RateLimited limited(log::Level::kDebug, "more of them");
  std::chrono::steady_clock::time_point now{std::chrono::hours(1)};
  for (int i = 0; i < 1000; ++i) limited.write(now, "one", {});
  CHECK(limited.suppressed() == 1000 - log::RateLimited::kLines);
  limited.tell(now);
  CHECK(limited.suppressed() > 0);  // the window is not over
  limited.tell(now + log::RateLimited::kWindow);
  CHECK(limited.suppressed() == 0);
  limited.write(now + log::RateLimited::kWindow, "one", {});
  CHECK(limited.suppressed() == 0);
}

}  // namespace delivery_test
