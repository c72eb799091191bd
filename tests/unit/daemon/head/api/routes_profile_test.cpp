// POST and GET /v1/jobs/{id}/profile.
#include "daemon/head/api/routes.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace routes_profile_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

struct Job {
  test::Cluster cluster;
  std::shared_ptr<test::FakeAgent> a = cluster.connect("a", 4);
  Job() {
    const auto id = cluster.submit(2, 0, [](proto::JobSpec& spec) {
      spec.command.clear();
      spec.train_func = proto::TrainFunc{"/x/lib.so", "f"};
    });
    cluster.reserve(*a);
    for (int rank = 0; rank < 2; ++rank) cluster.start(*a, id, Attempt(1), rank);
  }
  HttpResponse ask(http::verb method, const std::string& body = {}, const std::string& id = "1") {
    HttpRequest request{method, "/v1/jobs/" + id + "/profile", 11};
    request.body() = body;
    return std::get<HttpResponse>(answer(cluster.dispatcher, request));
  }
  HttpResponse post(const std::string& body = {}) { return ask(http::verb::post, body); }
};

proto::Json json(const HttpResponse& response) { return *proto::parse_json(response.body()); }

}  // namespace

TEST_CASE("routes: a profile is asked for with its defaults, and shown as it stands") {
  Job job;
  CHECK(job.ask(http::verb::get).result_int() == 404);
  const auto asked = job.post();
  CHECK(asked.result_int() == 202);
  CHECK(json(asked)["steps"] == 20);
  CHECK(json(asked)["timeout_s"] == 300);
  CHECK(json(asked)["state"] == "recording");
  REQUIRE(json(asked)["ranks"].size() == 1);
  CHECK(json(job.ask(http::verb::get)) == json(asked));
  CHECK(job.post().result_int() == 409);
}

TEST_CASE("routes: a profile of all ranks, or of those that are named") {
  Job job;
  SECTION("all") { CHECK(json(job.post(R"({"ranks": "all", "steps": 3})"))["ranks"].size() == 2); }
  SECTION("one") { CHECK(json(job.post(R"({"ranks": [1, 1]})"))["ranks"][0]["rank"] == 1); }
  SECTION("none there") { CHECK(job.post(R"({"ranks": [2]})").result_int() == 404); }
}

TEST_CASE("routes: what a profile cannot be is refused, and no rank is asked") {
  Job job;
  for (const char* body :
       {R"({"steps": 0})", R"({"steps": 10001})", R"({"steps": 1.5})", R"({"timeout_s": 0})",
        R"({"timeout_s": 1e9})", R"({"ranks": []})", R"({"ranks": "some"})", R"({"ranks": [-1]})",
        R"({"ranks": [0.5]})", R"({"ranks": {"0": 1}})", R"({"step": 3})", R"([])"}) {
    INFO(body);
    CHECK(job.post(body).result_int() == 400);
  }
  CHECK(job.ask(http::verb::post, {}, "7").result_int() == 404);
  CHECK(job.a->all<proto::ProfileRanks>().empty());
}

}  // namespace routes_profile_test
