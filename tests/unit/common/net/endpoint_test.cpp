#include "common/net/endpoint.h"
#include "tests/support/catch.h"

namespace endpoint_test {

using namespace rtrain;

TEST_CASE("endpoint: the three forms are read and written alike") {
  for (const char* text : {"127.0.0.1:7337", "localhost:0", "[::1]:65535", "node-1.example.org:80",
                           "unix:/run/rtrain.sock", "unix:relative"}) {
    const auto endpoint = net::parse_endpoint(text);
    INFO(text);
    REQUIRE(endpoint.has_value());
    CHECK(net::to_string(*endpoint) == text);
  }
}

TEST_CASE("endpoint: what is wrong is named") {
  const std::pair<std::string, std::string> cases[] = {
      {"", "the port is missing"},
      {"localhost", "the port is missing"},
      {"localhost:", "the port is missing"},
      {":80", "the host is missing"},
      {"a:65536", "the port must be"},
      {"a:-1", "the port must be"},
      {"a:80x", "the port must be"},
      {"::1:80", "brackets"},
      {"[::1:80", "\"]\" is missing"},
      {"http://a:80", "leave out \"http://\""},
      {"http://[::1]:80/", "not a URL"},
      {"unix:", "path of the Unix socket"},
      {"unix:/" + std::string(107, 'x'), "at most 107 bytes, this one has 108"},
  };
  for (const auto& [text, expected] : cases) {
    const auto endpoint = net::parse_endpoint(text);
    INFO(text);
    REQUIRE_FALSE(endpoint.has_value());
    CHECK(endpoint.error().code() == Errc::kInvalidArgument);
    CHECK_THAT(endpoint.error().message(), Catch::Matchers::Contains(expected));
  }
}

TEST_CASE("endpoint: a host that stands alone gets the default port") {
  CHECK(net::with_port("gpu-head", 7338) == "gpu-head:7338");
  CHECK(net::with_port("[::1]", 7338) == "[::1]:7338");
  for (const char* text : {"gpu-head:1", "[::1]:1", "unix:/x", ""}) CHECK(net::with_port(text, 7338) == text);
}

TEST_CASE("endpoint: only loopback and Unix sockets are local") {
  for (const char* text : {"127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1", "unix:/x"})
    CHECK(net::is_local(*net::parse_endpoint(text)));
  for (const char* text : {"0.0.0.0:1", "10.0.0.1:1", "[::]:1", "example.org:1", "localhost.example.org:1"})
    CHECK_FALSE(net::is_local(*net::parse_endpoint(text)));
}

}  // namespace endpoint_test
