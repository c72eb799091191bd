#include "common/base/number.h"

#include "common/base/clip.h"
#include "common/base/duration.h"
#include "tests/support/catch.h"

#include <limits>

namespace number_test {

using namespace rtrain;

TEST_CASE("number: only what is finite is one", "[F40]") {
  for (const char* text : {"nan", "inf", "NaN", "-inf", "infinity", "nan(1)", "1e999", "", "-", "+1", " 1",
                           "1 ", "0x10", "1,5"}) {
    INFO(text);
    CHECK_FALSE(finite_number(text).has_value());
  }
  CHECK(finite_number("1.5") == 1.5);
  CHECK(finite_number("-.5e1") == -5.0);
  CHECK(finite_number("0") == 0.0);
  std::string_view rest = "2.5h";
  CHECK(take_number(rest, false) == 2.5);
  CHECK(rest == "h");
  rest = "1e3s";
  CHECK(take_number(rest, false) == 1.0);
  CHECK(rest == "e3s");
}

TEST_CASE("number: whole numbers are those that JSON readers agree on", "[F52]") {
  CHECK(whole_number("9007199254740991") == kWholeMax);
  CHECK(whole_number("-9007199254740991") == -kWholeMax);
  for (const char* text :
       {"9007199254740992", "-9007199254740992", "9223372036854775808", "1.0", "1e3", "", "+1", "1 "})
    CHECK_FALSE(whole_number(text).has_value());
}

TEST_CASE("duration: any double becomes one", "[F40]") {
  using namespace std::chrono_literals;
  CHECK(to_milliseconds(1.5) == 1500ms);
  CHECK(to_milliseconds(std::numeric_limits<double>::quiet_NaN()) == 0ms);
  CHECK(to_milliseconds(std::numeric_limits<double>::infinity()) == to_milliseconds(kSecondsMax));
  CHECK(to_milliseconds(-1e300) == to_milliseconds(-kSecondsMax));
  const auto now = std::chrono::steady_clock::now();
  CHECK(now + to_milliseconds(1e300) > now);
}

TEST_CASE("clip: texts are cut between characters") {
  CHECK(clipped("short", 5) == "short");
  CHECK(clipped("shorter", 5) == "short...");
  CHECK(clipped("a\xC3\xA9\xC3\xA9", 2) == "a...");
  CHECK(clipped("\x80\x80\x80", 2) == "...");
}

}  // namespace number_test
