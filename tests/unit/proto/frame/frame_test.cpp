#include "proto/frame/frame.h"
#include "proto/message/message.h"
#include "tests/support/catch.h"
#include "tests/support/rounds.h"

#include <random>

namespace frame_test {

using namespace rtrain;
using namespace rtrain::proto;

namespace {

std::string_view header_of(const std::string& bytes) {
  return std::string_view(bytes).substr(0, kFrameHeaderBytes);
}

}  // namespace

TEST_CASE("frame: the header says how long the parts are") {
  const auto bytes = encode_frame({"{}", "body"});
  CHECK(bytes == std::string("RTR1\0\0\0\2\0\0\0\4{}body", 18));
  const auto header = decode_frame_header(header_of(bytes), {});
  REQUIRE(header.has_value());
  CHECK(header->json_bytes == 2);
  CHECK(header->body_bytes == 4);
}

TEST_CASE("frame: lengths over the limits are refused with both numbers") {
  const std::string four_gib("RTR1\xff\xff\xff\xff\0\0\0\0", 12), body("RTR1\0\0\0\1\xff\xff\xff\xff", 12);
  const auto json = decode_frame_header(four_gib, {});
  REQUIRE_FALSE(json.has_value());
  CHECK(json.error().code() == Errc::kLimit);
  CHECK(json.error().message() ==
        "a frame with a JSON text of 4294967295 bytes was refused; at most 4194304 are accepted here");
  CHECK(decode_frame_header(body, {}).error().code() == Errc::kLimit);
  CHECK(decode_frame_header(body.substr(0, 11), {}).error().code() == Errc::kProtocol);
  CHECK(decode_frame_header("", {}).error().code() == Errc::kProtocol);
}

TEST_CASE("frame: random bytes are refused or read within the limits, never more") {
  std::mt19937 random(20261123);
  for (int i = 0; i < 100'000; ++i) {
    std::string bytes(kFrameHeaderBytes, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    if (i % 2 == 0) bytes.replace(0, 4, "RTR1");
    const auto header = decode_frame_header(bytes, kHandshakeLimits);
    if (header.has_value()) {
      CHECK(header->json_bytes <= kHandshakeLimits.json_bytes_max);
      CHECK(header->body_bytes <= kHandshakeLimits.body_bytes_max);
    }
  }
}

TEST_CASE("decode: random bytes and broken messages are errors, never a crash") {
  std::mt19937 random(7);
  for (int i = 0; i < test::rounds(20'000); ++i) {
    std::string bytes(random() % 64, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    CHECK_FALSE(decode({bytes, ""}).has_value());
  }
  // A good message with one byte changed: either still a message, or refused with a reason.
  Hello hello;
  hello.role = "agent";
  hello.node = NodeInfo{"a", "10.0.0.1", {{"CPU", 4}}, {{0, "GPU-1", "H", 5}}, {{"rack", "1"}}, {}};
  hello.running = {{JobId(1), Attempt(1), 0}};
  const std::string good = encode(hello).json;
  for (int i = 0; i < 50'000; ++i) {
    std::string bytes = good;
    bytes[random() % bytes.size()] = static_cast<char>(random());
    const auto message = decode({bytes, ""});
    if (!message.has_value()) CHECK_FALSE(message.error().message().empty());
  }
  for (std::size_t size = 0; size < good.size(); ++size)
    CHECK_FALSE(decode({good.substr(0, size), ""}).has_value());
}

}  // namespace frame_test
