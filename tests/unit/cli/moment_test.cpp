#include "cli/moment.h"

#include "tests/support/catch.h"

#include <cstdlib>
#include <ctime>

using namespace rtrain;
using namespace rtrain::cli;

TEST_CASE("moment: now, from now, local time and UTC", "[unit][cli]") {
  ::setenv("TZ", "UTC-2", 1);  // two hours east of Greenwich
  ::tzset();
  CHECK(*parse_moment("now", 5) == 5);
  CHECK(*parse_moment("now+30m", 5) == 5 + 30 * 60'000);
  CHECK(*parse_moment("2026-11-26T08:00:00Z", 5) == 1'795'680'000'000);
  CHECK(*parse_moment("2026-11-26T08:00Z", 5) == 1'795'680'000'000);
  CHECK(*parse_moment("2026-11-26T10:00", 5) == 1'795'680'000'000);
  CHECK(*parse_moment("2026-11-26T10:00:01", 5) == 1'795'680'001'000);
  ::unsetenv("TZ");
  ::tzset();
  for (const char* text : {"", "tomorrow", "now+", "now+5", "now-5m", "2026-11-26", "2026-11-26T25:00", "2026-11-26T08:00:00+01:00", "08:00"}) {
    INFO(text);
    CHECK_FALSE(parse_moment(text, 5).has_value());
  }
}
