#include "proto/api/stream_position.h"

#include "tests/support/catch.h"

namespace stream_position_test {

using namespace rtrain;
using proto::StreamPosition;

TEST_CASE("stream position: text and back") {
  StreamPosition position;
  position.metrics = 12;
  position.attempt = 2;
  position.logs = {{{2, 0}, 4096}, {{3, 17}, 1}};
  CHECK(to_string(position) == "metrics=12,attempt=2,2.0=4096,3.17=1");
  CHECK(*proto::parse_stream_position(to_string(position)) == position);
  CHECK(to_string(StreamPosition{}) == "metrics=0");
  CHECK(*proto::parse_stream_position("") == StreamPosition{});
  CHECK(*proto::parse_stream_position("2.1=7,metrics=1") == StreamPosition{1, 0, {{{2, 1}, 7}}});
}

TEST_CASE("stream position: nothing told, and attempts that are over, are not in the text") {
  StreamPosition position{0, 2, {{{1, 0}, 100}, {{2, 0}, 0}, {{2, 1}, 5}}};
  CHECK(to_string(position) == "metrics=0,attempt=2,2.1=5");
}

TEST_CASE("stream position: of very many ranks the text stays short and says nothing of their logs") {
  StreamPosition position{3, 1, {}};
  for (int rank = 0; rank < 2000; ++rank) position.logs[{1, rank}] = 1'000'000;
  CHECK(to_string(position) == "metrics=3,attempt=1");
}

TEST_CASE("stream position: anything else is refused") {
  for (const auto& text :
       {std::string("metrics"), std::string("metrics="), std::string("metrics=-1"), std::string("metrics=1,"),
        std::string(",metrics=1"), std::string("metrics=1 "), std::string("1=2"), std::string("1.2"),
        std::string("1.-2=3"), std::string("1.2=3x"), std::string("x"),
        std::string("metrics=99999999999999999999"), std::string(5000, '1')}) {
    INFO(text);
    CHECK(proto::parse_stream_position(text).has_error());
  }
}

}  // namespace stream_position_test
