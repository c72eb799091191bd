#include "cli/sse.h"
#include "tests/support/catch.h"

namespace sse_test {

using namespace rtrain::cli;

namespace {

struct Seen {
  std::vector<std::string> events;
  friend bool operator==(const Seen&, const Seen&) = default;
};

Seen read_in_pieces(std::string_view text, std::initializer_list<std::size_t> cuts) {
  SseParser parser;
  Seen seen;
  std::size_t begin = 0;
  const auto feed = [&](std::size_t end) {
    auto events = parser.feed(text.substr(begin, end - begin));
    REQUIRE(events.has_value());
    for (const auto& event : *events) seen.events.push_back(event.name + "|" + event.data + "|" + event.id);
    begin = end;
  };
  for (const std::size_t cut : cuts) feed(cut);
  feed(text.size());
  return seen;
}

constexpr std::string_view kStream =
    "\xef\xbb\xbf: hello\n\nevent: state\ndata: {\"a\":1}\nid: 7\n\nevent:log\r\ndata: "
    "one\r\ndata:two\r\ndata\r\n\r\n"
    ":keep-alive\n\nretry: 10\ndata: é last\rdata: line\r\rdata: unfinished\n";
const Seen kExpected{{"state|{\"a\":1}|7", "log|one\ntwo\n|7", "message|é last\nline|7"}};

}  // namespace

TEST_CASE("sse: a stream gives its events, whatever the line ends", "[unit][cli]") {
  CHECK(read_in_pieces(kStream, {}) == kExpected);
}

TEST_CASE("sse: the events do not depend on where the pieces are cut", "[unit][cli]") {
  for (std::size_t cut = 0; cut <= kStream.size(); ++cut) CHECK(read_in_pieces(kStream, {cut}) == kExpected);
  for (std::size_t a = 0; a <= kStream.size(); a += 3)
    for (std::size_t b = a; b <= kStream.size(); b += 5) CHECK(read_in_pieces(kStream, {a, b}) == kExpected);
}

TEST_CASE("sse: byte by byte", "[unit][cli]") {
  SseParser parser;
  Seen seen;
  for (const char c : kStream) {
    auto events = parser.feed(std::string_view(&c, 1));
    REQUIRE(events.has_value());
    for (const auto& event : *events) seen.events.push_back(event.name + "|" + event.data + "|" + event.id);
  }
  CHECK(seen == kExpected);
}

TEST_CASE("sse: an event without data is none, an empty one is", "[unit][cli]") {
  CHECK(read_in_pieces("event: x\n\ndata\n\n", {}).events == std::vector<std::string>{"message||"});
}

TEST_CASE("sse: an event that is too large ends the reading", "[unit][cli]") {
  SseParser parser(16);
  auto first = parser.feed("data: 12345678\n");
  REQUIRE(first.has_value());
  auto second = parser.feed("data: 12345678\n");
  REQUIRE(!second.has_value());
  CHECK(second.error().code() == rtrain::Errc::kLimit);
}

}  // namespace sse_test
