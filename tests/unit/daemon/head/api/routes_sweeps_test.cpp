// /v1/sweeps.
#include "daemon/head/api/routes.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace routes_sweeps_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

proto::Json json_of(const HttpResponse& response) { return *proto::parse_json(response.body()); }

struct Api {
  test::Cluster cluster;

  std::string user = "ann";

  HttpResponse ask(http::verb method, const std::string& target, const std::string& body = {},
                   const std::string& key = {}) {
    HttpRequest request{method, target, 11};
    request.set("Rtrain-User", user);
    if (!key.empty()) request.set("Idempotency-Key", key);
    request.body() = body;
    return std::get<HttpResponse>(answer(cluster.dispatcher, request));
  }
  HttpResponse get(const std::string& target) { return ask(http::verb::get, target); }
  HttpResponse post(const std::string& target, const std::string& body = {}) {
    return ask(http::verb::post, target, body);
  }
  static std::string sweep(const proto::Json& more = proto::Json::object()) {
    proto::Json document = {
        {"name", "search"},
        {"job",
         {{"command", {"train"}}, {"working_dir", "/"}, {"run_config", {{"storage_path", "/results"}}}}},
        {"metric", "loss"},
        {"search", "random"},
        {"parameters", {{"lr", {{"float", {0.001, 1}}}}}},
        {"limits", {{"trials", 4}}}};
    document.update(more);
    return proto::dump_json(document);
  }
};

}  // namespace

TEST_CASE("routes: a sweep is submitted, shown and listed, and so are its trials") {
  Api api;
  const auto made = api.post("/v1/sweeps", Api::sweep());
  REQUIRE(made.result_int() == 201);
  CHECK(json_of(made)["id"] == 1);
  CHECK(json_of(made)["state"] == "RUNNING");
  CHECK(json_of(made)["user"] == "ann");
  CHECK(json_of(made)["trials_max"] == 4);
  CHECK(json_of(made)["best_trial"].is_null());
  CHECK(json_of(api.get("/v1/sweeps/1")) == json_of(made));
  const auto trials = json_of(api.get("/v1/sweeps/1/trials"));
  REQUIRE(trials["trials"].size() == 2);
  CHECK(trials["trials"][0]["state"] == "RUNNING");
  CHECK(trials["trials"][0]["job"] == 2);
  CHECK(trials["trials"][0]["value"].is_null());
  CHECK(trials["more"] == false);
  CHECK(json_of(api.get("/v1/sweeps/1/trials?limit=1"))["more"] == true);
  CHECK(json_of(api.get("/v1/sweeps/1/trials?from=1&limit=1"))["trials"][0]["trial"] == 1);
  CHECK(json_of(api.get("/v1/sweeps/1/trials?order=best"))["trials"].empty());
  CHECK(json_of(api.get("/v1/sweeps/1/trials?state=PAUSED"))["trials"].empty());
  CHECK(json_of(api.get("/v1/jobs/2"))["sweep"] == proto::Json{{"sweep", 1}, {"trial", 0}});

  REQUIRE(api.post("/v1/sweeps", Api::sweep({{"name", "second"}})).result_int() == 201);
  auto list = json_of(api.get("/v1/sweeps"));
  REQUIRE(list["sweeps"].size() == 2);
  CHECK(list["sweeps"][0]["name"] == "second");
  CHECK(list["more"] == false);
  list = json_of(api.get("/v1/sweeps?limit=1"));
  CHECK(list["more"] == true);
  list = json_of(api.get("/v1/sweeps?limit=1&before=" + std::to_string(list["next"].get<int>())));
  CHECK(list["sweeps"][0]["id"] == 1);
  CHECK(json_of(api.get("/v1/sweeps?user=bob"))["sweeps"].empty());
  CHECK(json_of(api.get("/v1/sweeps?state=PAUSED"))["sweeps"].empty());
}

TEST_CASE("routes: a page of sweeps is full of those that were asked for") {
  Api api;
  std::vector<std::int64_t> of_ann;
  for (int i = 0; i < 12; ++i) {
    api.user = i % 4 == 0 ? "ann" : "bob";
    const auto made = json_of(api.post("/v1/sweeps", Api::sweep()));
    const auto id = made["id"].get<std::int64_t>();
    if (api.user == "ann") of_ann.insert(of_ann.begin(), id);
    if (i != 8) api.post("/v1/sweeps/" + std::to_string(id) + "/stop", R"({"now": true})");
  }
  const auto ids = [](const proto::Json& list) {
    std::vector<std::int64_t> found;
    for (const auto& sweep : list["sweeps"]) found.push_back(sweep["id"].get<std::int64_t>());
    return found;
  };
  REQUIRE(of_ann.size() == 3);
  auto list = json_of(api.get("/v1/sweeps?user=ann&limit=2"));
  CHECK(ids(list) == std::vector{of_ann[0], of_ann[1]});
  CHECK(list["more"] == true);
  list = json_of(api.get("/v1/sweeps?user=ann&limit=2&before=" + std::to_string(list["next"].get<int>())));
  CHECK(ids(list) == std::vector{of_ann[2]});
  CHECK(list["more"] == false);
  CHECK(ids(json_of(api.get("/v1/sweeps?state=RUNNING&limit=1"))) == std::vector{of_ann[0]});
  std::vector<std::int64_t> all;
  for (std::string before;;) {
    list = json_of(api.get("/v1/sweeps?limit=5" + before));
    for (const auto id : ids(list)) all.push_back(id);
    if (list["more"] == false) break;
    before = "&before=" + std::to_string(list["next"].get<int>());
  }
  CHECK(all.size() == 12);
  CHECK(std::ranges::is_sorted(all, std::greater<>()));
}

TEST_CASE("routes: a sweep is paused, resumed and stopped") {
  Api api;
  REQUIRE(api.post("/v1/sweeps", Api::sweep()).result_int() == 201);
  CHECK(json_of(api.post("/v1/sweeps/1/pause"))["state"] == "PAUSED");
  CHECK(api.post("/v1/sweeps/1/pause").result_int() == 409);
  CHECK(json_of(api.post("/v1/sweeps/1/resume"))["state"] == "RUNNING");
  CHECK(api.post("/v1/sweeps/1/stop", R"({"now": 1})").result_int() == 400);
  CHECK(api.post("/v1/sweeps/1/stop", R"({"nwo": true})").result_int() == 400);
  // Its jobs wait, and are gone at once.
  const auto stopped = json_of(api.post("/v1/sweeps/1/stop", R"({"now": true})"));
  CHECK(stopped["state"] == "CANCELLED");
  CHECK(stopped["reason"] == "stopped by ann");
  CHECK(json_of(api.get("/v1/jobs/2"))["state"] == "CANCELLED");
  CHECK(json_of(api.get("/v1/sweeps?state=CANCELLED"))["sweeps"].size() == 1);
  CHECK(api.post("/v1/sweeps/1/stop").result_int() == 409);
}

TEST_CASE("routes: what is no sweep is refused with all its errors, and the same request makes one") {
  Api api;
  const auto wrong = api.post("/v1/sweeps", Api::sweep({{"metric", ""}, {"limits", {{"trials", 0}}}}));
  CHECK(wrong.result_int() == 400);
  CHECK(json_of(wrong)["errors"].size() == 2);
  const auto relative =
      api.post("/v1/sweeps", Api::sweep({{"job", {{"command", {"train"}}, {"working_dir", "here"}}}}));
  CHECK(relative.result_int() == 400);
  CHECK(json_of(relative)["errors"][0]["path"].get<std::string>().starts_with("job."));
  CHECK(api.post("/v1/sweeps", "{").result_int() == 400);
  CHECK(api.post("/v1/sweeps", std::string(2 << 20, ' ')).result_int() == 413);
  for (const char* target : {"/v1/sweeps/1", "/v1/sweeps/x", "/v1/sweeps/0", "/v1/sweeps/1/trials"})
    CHECK(api.get(target).result_int() == 404);
  CHECK(api.post("/v1/sweeps/1/stop").result_int() == 404);
  const auto first = api.ask(http::verb::post, "/v1/sweeps", Api::sweep(), "key");
  const auto again = api.ask(http::verb::post, "/v1/sweeps", Api::sweep(), "key");
  CHECK(first.result_int() == 201);
  CHECK(json_of(again)["id"] == json_of(first)["id"]);
  CHECK(api.ask(http::verb::post, "/v1/sweeps", Api::sweep({{"seed", 9}}), "key").result_int() == 409);
}

TEST_CASE("routes: trials are given, extended, retried and stopped") {
  Api api;
  REQUIRE(api.post("/v1/sweeps", Api::sweep({{"search", "external"}, {"limits", {{"trials", 2}}}}))
              .result_int() == 201);
  auto made = api.post("/v1/sweeps/1/trials", R"({"params": {"lr": 0.5}, "trial": 0})");
  REQUIRE(made.result_int() == 201);
  CHECK(json_of(made)["trial"] == 0);
  CHECK(json_of(made)["sweep"]["trials"] == 1);
  CHECK(api.post("/v1/sweeps/1/trials", R"({"params": {"lr": 0.5}, "trial": 0})").result_int() == 409);
  CHECK(api.post("/v1/sweeps/1/trials", R"({"params": {"lr": 5}})").result_int() == 400);
  CHECK(api.post("/v1/sweeps/1/trials", R"({"params": [1]})").result_int() == 400);
  CHECK(api.post("/v1/sweeps/1/trials", R"({"param": {}})").result_int() == 400);
  CHECK(api.post("/v1/sweeps/1/extend", R"({"trials": 0})").result_int() == 409);
  CHECK(api.post("/v1/sweeps/1/extend", R"({"trials": "3"})").result_int() == 400);
  CHECK(json_of(api.post("/v1/sweeps/1/extend", R"({"trials": 3})"))["trials_max"] == 5);
  CHECK(json_of(api.post("/v1/sweeps/1/retry"))["trials"].empty());
  CHECK(api.post("/v1/sweeps/1/retry", R"({"trials": [0]})").result_int() == 409);
  CHECK(api.post("/v1/sweeps/1/retry", R"({"trials": 0})").result_int() == 400);
  CHECK(api.post("/v1/sweeps/1/retry", R"({"trials": [7]})").result_int() == 404);
  CHECK(api.post("/v1/sweeps/1/trials/7/stop").result_int() == 404);
  CHECK(api.post("/v1/sweeps/1/trials/x/stop").result_int() == 404);
  CHECK(api.post("/v1/sweeps/1/trials/0/stop").result_int() == 200);
}

}  // namespace routes_sweeps_test
