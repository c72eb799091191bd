#include "cli/table.h"
#include "tests/support/catch.h"

namespace table_test {

using namespace rtrain::cli;

TEST_CASE("table: columns are as wide as their widest cell, in columns not bytes", "[unit][cli]") {
  Table table({">ID", "NAME", "STATE"});
  table.add({"1", "漢字", "RUNNING"});
  table.add({"12", "a", ""});
  CHECK(table.str(0, false) ==
        "ID  NAME  STATE\n"
        " 1  漢字  RUNNING\n"
        "12  a     -\n");
}

TEST_CASE("table: the last column is cut to the terminal, in a pipe nothing is", "[unit][cli]") {
  Table table({"A", "REASON"});
  table.add({"x", "a long reason that does not fit"});
  CHECK(table.str(20, false) == "A  REASON\nx  a long reason th…\n");
  CHECK(table.str(0, false) == "A  REASON\nx  a long reason that does not fit\n");
}

TEST_CASE("table: colours add no width, and cells cannot bring their own", "[unit][cli]") {
  Table table({"S", "N"});
  table.add({{"OK", Style::kGreen}, "1"});
  table.add({"\x1b[31mBAD", "2\n3"});
  CHECK(table.str(0, true) == "\x1b[1mS\x1b[0m    \x1b[1mN\x1b[0m\n\x1b[32mOK\x1b[0m   1\nBAD  2 3\n");
}

TEST_CASE("table: missing cells are shown as such, lines have no trailing spaces", "[unit][cli]") {
  Table table({"A", "LONG"});
  CHECK(table.empty());
  table.add({"only"});
  CHECK(table.str(0, false) == "A     LONG\nonly  -\n");
}

}  // namespace table_test
