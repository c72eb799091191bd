// POST and GET /v1/jobs/{id}/debug.
#include "daemon/head/api/routes.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace routes_debug_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

struct DebuggedJob {
  test::Cluster cluster;
  std::shared_ptr<test::FakeAgent> a = cluster.connect("a", 4);
  DebuggedJob() {
    const auto id = cluster.submit(2);
    cluster.reserve(*a);
    for (int rank = 0; rank < 2; ++rank) cluster.start(*a, id, Attempt(1), rank);
  }
  HttpResponse ask(http::verb method, const std::string& body = {}, const std::string& id = "1") {
    HttpRequest request{method, "/v1/jobs/" + id + "/debug", 11};
    request.body() = body;
    return std::get<HttpResponse>(answer(cluster.dispatcher, request));
  }
  HttpResponse post(const std::string& body = {}) { return ask(http::verb::post, body); }
};

proto::Json parsed(const HttpResponse& response) { return *proto::parse_json(response.body()); }

}  // namespace

TEST_CASE("routes: all ranks are asked where they are, and the answers shown as they stand") {
  DebuggedJob job;
  CHECK(job.ask(http::verb::get).result_int() == 404);
  const auto asked = job.post();
  CHECK(asked.result_int() == 202);
  CHECK(parsed(asked)["state"] == "asking");
  CHECK(parsed(asked)["reason"] == "asked");
  CHECK(parsed(asked)["ranks"].size() == 2);
  CHECK(parsed(job.ask(http::verb::get)) == parsed(asked));
  CHECK(job.post(R"({"ranks": [1]})").result_int() == 202);  // again: the last one counts
  CHECK(job.a->all<proto::DebugRanks>().back().ranks == std::vector<int>{1});
}

TEST_CASE("routes: what a diagnosis cannot be is refused, and no rank is asked") {
  DebuggedJob job;
  for (const char* body : {R"({"timeout_s": 0})", R"({"timeout_s": 301})", R"({"ranks": []})",
                           R"({"ranks": "some"})", R"({"ranks": [-1]})", R"({"steps": 3})", R"([])"}) {
    INFO(body);
    CHECK(job.post(body).result_int() == 400);
  }
  CHECK(job.post(R"({"ranks": [2]})").result_int() == 404);
  CHECK(job.ask(http::verb::post, {}, "7").result_int() == 404);
  CHECK(job.a->all<proto::DebugRanks>().empty());
}

}  // namespace routes_debug_test
