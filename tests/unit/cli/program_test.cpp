#include "cli/exit_code.h"
#include "cli/verb.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <new>
#include <stdexcept>
#include <system_error>

#include <unistd.h>

namespace program_test {

using namespace rtrain;
using namespace rtrain::cli;

namespace {

struct End {
  int status = 0;
  std::string err;
};

/// `rtrain version` where asking for a variable throws: the first time, or always.
template <class Failure>
End run_with(const Failure& failure, bool always) {
  const test::TempDir dir;
  const auto path = (dir / "stderr").string();
  End end;
  {
    std::FILE* file = std::fopen(path.c_str(), "w");
    const int kept = ::dup(STDERR_FILENO);
    ::dup2(::fileno(file), STDERR_FILENO);
    int asked = 0;
    end.status = run_program({"version"}, [&](const char*) -> const char* {
      if (asked++ == 0 || always) throw failure;
      return nullptr;
    });
    ::dup2(kept, STDERR_FILENO);
    ::close(kept);
    std::fclose(file);
  }
  std::ifstream file(path);
  end.err.assign(std::istreambuf_iterator<char>(file), {});
  return end;
}

}  // namespace

TEST_CASE("program: without memory it ends with an error and a way out, also when nothing can be allocated",
          "[unit][cli]") {
  for (const bool always : {false, true}) {
    const auto end = run_with(std::bad_alloc(), always);
    CHECK(end.status == static_cast<int>(exit_of(Errc::kIo)));
    CHECK(end.err.starts_with("error: no memory is left for this program\nhint: "));
  }
}

TEST_CASE("program: an exception that nobody expected is an error with its text", "[unit][cli]") {
  const auto of_system = run_with(
      std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again), "thread"), false);
  CHECK(of_system.status == static_cast<int>(exit_of(Errc::kIo)));
  CHECK(of_system.err.starts_with("error: thread: "));
  const auto other = run_with(std::logic_error("a bug"), false);
  CHECK(other.status == static_cast<int>(exit_of(Errc::kInternal)));
  CHECK(other.err == "error: a bug\n");
}

}  // namespace program_test
