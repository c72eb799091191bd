#include "cli/text.h"
#include "tests/support/catch.h"

#include <limits>

namespace text_test {

using namespace rtrain::cli;

TEST_CASE("text: width counts characters as a terminal does", "[unit][cli]") {
  CHECK(display_width("abc") == 3);
  CHECK(display_width("é") == 1);
  CHECK(display_width("e\u0301") == 1);
  CHECK(display_width("漢字") == 4);
  CHECK(display_width("█▋") == 2);
  CHECK(display_width("\x1b[31mred\x1b[0m") == 3);
  CHECK(display_width("\xff\xfe") == 2);
  CHECK(display_width("") == 0);
}

TEST_CASE("text: fit never exceeds the width and never splits a character", "[unit][cli]") {
  CHECK(fit("abcdef", 6) == "abcdef");
  CHECK(fit("abcdef", 4) == "abc…");
  CHECK(fit("漢字漢字", 5) == "漢字…");
  CHECK(fit("漢字漢字", 4) == "漢…");
  CHECK(fit("abc", 0).empty());
  for (int width = 1; width < 12; ++width) CHECK(display_width(fit("a漢b字c…d", width)) <= width);
}

TEST_CASE("text: printable keeps text, drops what steers a terminal", "[unit][cli]") {
  CHECK(printable("plain\ttext é", true) == "plain\ttext é");
  CHECK(printable("\x1b[2Jgone\x1b[H", true) == "gone");
  CHECK(printable("\x1b]0;title\atext", true) == "text");
  CHECK(printable("\x1b]52;c;AAAA\x1b\\text", true) == "text");
  CHECK(printable("\x1b[31mred", true) == "\x1b[31mred\x1b[0m");
  CHECK(printable("\x1b[31mred\x1b[0m", false) == "red");
  CHECK(printable("a\rb\bc\x7f", true) == "abc");
  CHECK(printable("bad\xff\xfe.", true) == "bad\ufffd\ufffd.");
  CHECK(printable("a\nb", true) == "a b");
  CHECK(printable_lines("a\n\x1b[2Jb\n", "  ") == "a\n  b");
  CHECK(printable("\x1b", true).empty());
  CHECK(printable("\x1b[", true).empty());
  CHECK(printable("\xc2\x9b"
                  "2J",
                  true) == "2J");  // C1 control as UTF-8
}

TEST_CASE("text: durations, clocks and ages", "[unit][cli]") {
  CHECK(duration(0.84) == "0.8s");
  CHECK(duration(12.3) == "12s");
  CHECK(duration(192) == "3m 12s");
  CHECK(duration(5 * 3600 + 185) == "5h 03m");
  CHECK(duration(2 * 86400 + 4 * 3600) == "2d 04h");
  CHECK(duration(-1) == "0.0s");
  CHECK(clock_time(12) == "00:12");
  CHECK(clock_time(3723) == "1:02:03");
  CHECK(clock_time(std::numeric_limits<double>::infinity()) == "?");
  CHECK(ago(0, 5000) == "-");
  CHECK(ago(5000, 5000) == "just now");
  CHECK(ago(1, 12'001) == "12s ago");
  CHECK(ago(1, 3'600'001 * 3) == "3h ago");
  CHECK(ago(10'000, 5'000) == "just now");
}

TEST_CASE("text: sizes, numbers and amounts", "[unit][cli]") {
  CHECK(bytes(512) == "512 B");
  CHECK(bytes(1.5 * 1024 * 1024 * 1024) == "1.5 GiB");
  CHECK(number(0.213444) == "0.2134");
  CHECK(number(0.21, 3) == "0.21");
  CHECK(number(std::numeric_limits<double>::quiet_NaN()) == "nan");
  CHECK(amount(4) == "4");
  CHECK(amount(0.5) == "0.5");
}

TEST_CASE("text: metrics on one line, with diverged values visible", "[unit][cli]") {
  CHECK(metrics_line({{"loss", 0.21344}, {"epoch", 3}}) == "epoch=3, loss=0.2134");
  CHECK(metrics_line({{"loss", "NaN"}}) == "loss=nan");
  CHECK(metrics_line({{"note", "a\x1b[2Jb"}}) == "note=ab");
  CHECK(metrics_line(nullptr).empty());
  CHECK(metrics_line({{"loss", 0.5}, {"loss_epoch", 0.5}, {"loss_step", 0.5}}) == "loss=0.5");
  CHECK(metrics_line({{"loss", 0.5}, {"loss_epoch", 0.5}, {"loss_step", 0.25}}) ==
        "loss=0.5, loss_step=0.25");
  CHECK(metrics_line({{"loss_epoch", 0.5}, {"global_step", 3}}) == "global_step=3, loss_epoch=0.5");
  CHECK(metrics_line({{"step", 1234567}}) == "step=1234567");
}

}  // namespace text_test
