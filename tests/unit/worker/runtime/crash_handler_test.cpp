#include "worker/runtime/crash_handler.h"

#include "common/os/file.h"
#include "proto/record/rank_files.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

namespace crash_handler_test {

using namespace rtrain;

namespace {

volatile std::uintptr_t kNothing = 0;

/// A child with the handler that does this. The signal that ended it, and what it left.
struct Left {
  int signal = 0;
  std::string text;
};
Left crash_of(const std::function<void()>& act) {
  const test::TempDir dir;
  const auto folder = dir.path().string();
  const pid_t child = ::fork();
  if (child == 0) {
    for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL})
      std::signal(signal, SIG_DFL);  // Catch2 has its own
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    ::sigaltstack(&none, nullptr);
    runtime::install_crash_handler(folder);
    runtime::note_training_library("/proc/self/exe");
    act();
    ::_exit(0);
  }
  Left left;
  int status = 0;
  ::waitpid(child, &status, 0);
  left.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (auto text = os::read_file(proto::crash_path(folder))) left.text = std::move(*text);
  return left;
}

bool has_line(const Left& left, const std::string& line) {
  return left.text.find("\n" + line) != std::string::npos || left.text.starts_with(line);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winfinite-recursion"  // on purpose
[[gnu::noinline]] int deep(volatile int* counter) {
  volatile char room[4096];
  room[0] = static_cast<char>(*counter);
  *counter = *counter + 1;
  return deep(counter) + room[0];
}
#pragma GCC diagnostic pop

}  // namespace

TEST_CASE(
    "crash handler: every signal of a crash leaves a place, frames and a map, and ends the process as before",
    "[unit][runtime][F34]") {
  struct Row {
    const char* name;
    int signal;
    std::function<void()> act;
  };
  const std::vector<Row> rows{
      {"a null pointer", SIGSEGV, [] { *reinterpret_cast<volatile int*>(16) = 1; }},
      {"a call of nothing", SIGSEGV, [] { reinterpret_cast<void (*)()>(kNothing)(); }},
      {"abort", SIGABRT, [] { std::abort(); }},
      {"an exception that nobody catches, in another thread", SIGABRT,
       [] { std::thread([] { throw 1; }).join(); }},
      {"raise", SIGBUS, [] { std::raise(SIGBUS); }},
      {"an illegal instruction", SIGILL, [] { __builtin_trap(); }},
      {"a division", SIGFPE, [] { std::raise(SIGFPE); }},
      {"a stack that is used up", SIGSEGV,
       [] {
         int counter = 0;
         (void)deep(&counter);
       }},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    const auto left = crash_of(row.act);
    CHECK(left.signal == row.signal);
    CHECK(has_line(left, "signal " + std::to_string(row.signal)));
    CHECK(has_line(left, "pc 0x"));
    CHECK(has_line(left, "library "));
    CHECK(has_line(left, "frame 0x"));
    CHECK(has_line(left, "maps\n"));
    CHECK(left.text.find("worker_runtime_test") != std::string::npos);
  }
}

TEST_CASE("crash handler: whose action is set already keeps it, and a forked child is none of ours",
          "[unit][runtime][F34]") {
  auto left = crash_of([] {
    std::signal(SIGSEGV, [](int) { ::_exit(7); });
    std::raise(SIGSEGV);
  });
  CHECK(left.signal == 0);
  left = crash_of([] {
    if (const pid_t child = ::fork(); child == 0)
      std::abort();
    else
      ::waitpid(child, nullptr, 0);
  });
  CHECK(left.signal == 0);
  CHECK(left.text.empty());
}

}  // namespace crash_handler_test
