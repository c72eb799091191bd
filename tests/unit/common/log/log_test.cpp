#include "common/log/log.h"
#include "tests/support/catch.h"

namespace log_test {

using namespace rtrain;

TEST_CASE("log: fields follow the message, values with blanks are quoted") {
  CHECK(log::format_line("agent connected",
                         {{"node", "a"}, {"why", "two words"}, {"empty", ""}, {"eq", "a=b"}}) ==
        "agent connected node=a why=\"two words\" empty=\"\" eq=\"a=b\"");
}

TEST_CASE("log: a peer's text cannot forge a line or drive the terminal") {
  CHECK(log::format_line("refused \x1b[31m\nINFO fake", {{"peer", "a\r\nb\"c\\"}}) ==
        "refused \\x1b[31m\\nINFO fake peer=\"a\\x0d\\nb\\\"c\\\\\"");
}

TEST_CASE("log: level names") {
  CHECK(log::level_from_string("debug") == log::Level::kDebug);
  CHECK(log::level_from_string("warn") == log::Level::kWarn);
  CHECK(log::level_from_string("loud") == log::Level::kInfo);
}

}  // namespace log_test
