#include "worker/sdk/probe.h"

#include "tests/support/catch.h"

#include <c10/util/Exception.h>

#include <new>
#include <stdexcept>
#include <system_error>

namespace probe_test {

using namespace rtrain;

TEST_CASE("probe: what a check throws becomes its line, with a way out", "[unit][sdk]") {
  const auto check_of = [](auto error) {
    return sdk::failed_check("cpu", std::make_exception_ptr(std::move(error)), "the hint");
  };
  const auto no_memory = check_of(std::bad_alloc());
  CHECK(no_memory.name == "cpu");
  CHECK(no_memory.health == proto::Health::kFailure);
  CHECK(no_memory.detail == "no memory is left for it");
  CHECK(no_memory.hint.find("ulimit -v") != std::string::npos);

  const auto no_thread =
      check_of(std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again)));
  CHECK(no_thread.detail.starts_with("no thread can be started: "));
  CHECK(no_thread.hint.find("ulimit -u") != std::string::npos);

  const auto of_c10 = check_of(c10::Error({"f", "f.cpp", 1}, "first line"));
  CHECK(of_c10.detail == "first line");
  CHECK(of_c10.hint == "the hint");
  CHECK(check_of(3).hint == "the hint");
}

}  // namespace probe_test
