#include "daemon/head/api/http.h"

#include "daemon/head/api/api_server.h"
#include "daemon/head/api/log_follower.h"
#include "tests/support/catch.h"

namespace http_test {

using namespace rtrain;
using namespace rtrain::head;

TEST_CASE("http: a target is taken apart and decoded") {
  const auto target = parse_target("/v1/jobs/7/logs?rank=0&tail=20&flag&name=a%20b%2Fc");
  REQUIRE(target.has_value());
  CHECK(target->path == std::vector<std::string>{"v1", "jobs", "7", "logs"});
  CHECK(target->query.at("rank") == "0");
  CHECK(target->query.at("flag").empty());
  CHECK(target->query.at("name") == "a b/c");
  CHECK(parse_target("/")->path.empty());
  CHECK(parse_target("/v1/a%2Fb")->path == std::vector<std::string>{"v1", "a/b"});
}

TEST_CASE("http: what is no target is refused") {
  for (const auto& text : {std::string(), std::string("v1/jobs"), std::string("http://x/v1"),
                           std::string("*"), std::string("/%"), std::string("/%4"), std::string("/%zz"),
                           std::string("/a?x=%q1"), "/" + std::string(2048, 'a')}) {
    INFO(text);
    CHECK(parse_target(text).has_error());
  }
}

TEST_CASE("http: numbers in a query are whole and stand alone") {
  const auto target = *parse_target("/x?a=7&b=-3&c=1.5&d=&e=9999999999999999999&f=7x");
  CHECK(query_number(target, "a", 0, 0).value() == 7);
  CHECK(query_number(target, "b", 0, -5).value() == -3);
  CHECK(query_number(target, "missing", 42, 0).value() == 42);
  for (const char* name : {"c", "d", "e", "f"}) {
    const auto number = query_number(target, name, 0, 0);
    REQUIRE(number.has_error());
    CHECK(number.error().message().find(name) == 0);
  }
}

TEST_CASE("http: numbers in a query have bounds, and a parameter stands once", "[F52]") {
  const auto target = *parse_target("/x?a=7&b=-1&c=9007199254740992&d=9223372036854775807&e=4294967297");
  for (const char* name : {"b", "c", "d"}) CHECK(query_number(target, name, 0, 0).has_error());
  CHECK(query_number(target, "e", 0, 0).value() == 4294967297);
  const auto above = query_number(target, "a", 0, 1, 6);
  REQUIRE(above.has_error());
  CHECK(above.error().message() == "a=7: expected a whole number from 1 to 6");
  CHECK(parse_target("/x?a=1&a=2").has_error());
}

TEST_CASE("http: a server-sent event is a name and one line of data") {
  CHECK(server_sent_event("log", {{"text", "a\nb\r\n"}}) ==
        "event: log\ndata: {\"text\":\"a\\nb\\r\\n\"}\n\n");
}

TEST_CASE("http: an event that can be resumed after has an id") {
  CHECK(server_sent_event("log", {{"rank", 1}}, "metrics=3") ==
        "event: log\ndata: {\"rank\":1}\nid: metrics=3\n\n");
}

TEST_CASE("http: an error has the status of its code and says how to log in") {
  HttpRequest request{http::verb::get, "/x", 11};
  const auto refused = error_response(fail(Errc::kUnauthenticated, "no token"), request);
  CHECK(refused.result() == http::status::unauthorized);
  CHECK(refused.count(http::field::www_authenticate) == 1);
  CHECK(proto::read_document<proto::ErrorDoc>(refused.body())->message == "no token");
  CHECK(error_response(fail(Errc::kNotFound, "x"), request).result() == http::status::not_found);
}

TEST_CASE("http: hosts that a browser cannot be led to from elsewhere") {
  for (const char* host : {"127.0.0.1", "127.0.0.1:7338", "10.1.2.3:7338", "localhost", "localhost:7338",
                           "[::1]:7338", "gpu-head:7338", "gpu-head.cluster.lan"}) {
    INFO(host);
    CHECK(host_is_ours(host, "gpu-head"));
  }
  for (const char* host : {"", "evil.example", "evil.example:7338", "gpu-head-evil.example",
                           "127.0.0.1.evil.example", "localhost.evil.example", "[evil"}) {
    INFO(host);
    CHECK_FALSE(host_is_ours(host, "gpu-head"));
  }
}

TEST_CASE("http: a page of another site is told by its Origin header") {
  CHECK_FALSE(is_cross_origin("", "127.0.0.1:7338"));
  CHECK_FALSE(is_cross_origin("http://127.0.0.1:7338", "127.0.0.1:7338"));
  CHECK(is_cross_origin("https://evil.example", "127.0.0.1:7338"));
  CHECK(is_cross_origin("http://127.0.0.1:8080", "127.0.0.1:7338"));
  CHECK(is_cross_origin("null", "127.0.0.1:7338"));
}

TEST_CASE("http: a piece of a log ends with a line, or at least with a character") {
  CHECK(whole_text("one\ntwo\n", false) == 8);
  CHECK(whole_text("one\ntw", false) == 4);
  CHECK(whole_text("one\ntw", true) == 6);
  CHECK(whole_text("prompt> ", false) == 8);
  CHECK(whole_text("", false) == 0);
  const std::string euro = "\xe2\x82\xac";
  CHECK(whole_text("5 " + euro, false) == 5);
  CHECK(whole_text("5 " + euro.substr(0, 2), false) == 2);
  CHECK(whole_text("5 " + euro.substr(0, 1), false) == 2);
  CHECK(whole_text(euro.substr(0, 1), false) == 0);
  CHECK(whole_text("\x80\x80\x80\x80", false) == 4);  // no character at all: shown as it is
}

}  // namespace http_test
