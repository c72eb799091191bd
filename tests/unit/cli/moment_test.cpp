#include "cli/moment.h"

#include "tests/support/catch.h"

#include <cstdlib>
#include <ctime>

namespace moment_test {

using namespace rtrain;
using namespace rtrain::cli;

TEST_CASE("moment: RFC 3339 whole, and only days that exist", "[F32]") {
  CHECK(*parse_moment("2026-11-26T09:00:00+01:00", 5) == 1'795'680'000'000);
  CHECK(*parse_moment("2026-11-26T08:00:00.123456Z", 5) == 1'795'680'000'123);
  CHECK(*parse_moment("2026-11-26T08:00:00.5Z", 5) == 1'795'680'000'500);
  for (const char* text :
       {"2026-02-30T10:00:00Z", "2026-02-30T10:00", "2026-02-30T10:00:00", "2026-11-31T10:00Z",
        "2026-11-26T23:59:60Z", "2026-11-26T24:00", "2026-11-26T08:00:00+25:00"}) {
    INFO(text);
    CHECK_FALSE(parse_moment(text, 5).has_value());
  }
  CHECK(parse_moment("2026-02-30T10:00:00Z", 5).error().message() ==
        "\"2026-02-30T10:00:00Z\" is a date that does not exist");
}

TEST_CASE("moment: no length of time is none", "[F40]") {
  for (const char* text : {"now+nans", "now+infs", "now+1dnanh"})
    CHECK_FALSE(parse_moment(text, 5).has_value());
}

TEST_CASE("moment: now, from now, local time and UTC", "[unit][cli]") {
  ::setenv("TZ", "UTC-2", 1);  // two hours east of Greenwich
  ::tzset();
  CHECK(*parse_moment("now", 5) == 5);
  CHECK(*parse_moment("now+30m", 5) == 5 + 30 * 60'000);
  CHECK(*parse_moment("2026-11-26T08:00:00Z", 5) == 1'795'680'000'000);
  CHECK(*parse_moment("2026-11-26T08:00Z", 5) == 1'795'680'000'000);
  CHECK(*parse_moment("2026-11-26T10:00", 5) == 1'795'680'000'000);
  CHECK(*parse_moment("2026-11-26T10:00:01", 5) == 1'795'680'001'000);
  // As Slurm writes them.
  CHECK(*parse_moment("now+1hour", 5) == 5 + 3'600'000);
  CHECK(*parse_moment("now+90minutes", 5) == 5 + 90 * 60'000);
  CHECK(*parse_moment("now+2days", 5) == 5 + 2 * 86'400'000LL);
  CHECK(*parse_moment("now+1week", 5) == 5 + 7 * 86'400'000LL);
  CHECK(*parse_moment("10:00", 1'795'679'999'000) == 1'795'680'000'000);               // today
  CHECK(*parse_moment("10:00:00", 1'795'680'000'000) == 1'795'680'000'000);            // now
  CHECK(*parse_moment("10:00", 1'795'680'000'001) == 1'795'680'000'000 + 86'400'000);  // tomorrow
  ::unsetenv("TZ");
  ::tzset();
  for (const char* text : {"", "tomorrow", "now+", "now+5", "now-5m", "2026-11-26", "2026-11-26T25:00",
                           "25:00", "8", "now+1fortnight", "now+99999999999weeks", "now+1hour2"}) {
    INFO(text);
    CHECK_FALSE(parse_moment(text, 5).has_value());
  }
}

}  // namespace moment_test
