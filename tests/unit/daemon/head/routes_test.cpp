#include "daemon/head/routes.h"

#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

using namespace rtrain;
using namespace rtrain::head;

namespace {

constexpr const char* kJob = R"({"name": "hello", "command": ["/bin/true"], "working_dir": "/tmp", "run_config": {"storage_path": "/tmp/results"}})";

Reply ask(test::Cluster& cluster, http::verb method, const std::string& target, const std::string& body = {}) {
  HttpRequest request{method, target, 11};
  request.body() = body;
  return answer(cluster.dispatcher, request);
}

HttpResponse get(test::Cluster& cluster, const std::string& target) { return std::get<HttpResponse>(ask(cluster, http::verb::get, target)); }
HttpResponse post(test::Cluster& cluster, const std::string& target, const std::string& body = {}) {
  return std::get<HttpResponse>(ask(cluster, http::verb::post, target, body));
}
int status(const HttpResponse& response) { return static_cast<int>(response.result_int()); }
proto::Json json(const HttpResponse& response) { return *proto::parse_json(response.body()); }

}  // namespace

TEST_CASE("routes: each one is known by its path, other methods are 405 and say what is allowed") {
  test::Cluster cluster;
  CHECK(routes().size() == 15);
  for (const auto& route : routes()) {
    std::string path = route.pattern;
    if (const auto id = path.find("{id}"); id != std::string::npos) path.replace(id, 4, "1");
    INFO(path);
    const auto reply = std::get<HttpResponse>(ask(cluster, http::verb::delete_, path));
    CHECK(status(reply) == 405);
    const auto name = http::to_string(route.method);
    CHECK(std::string(reply[http::field::allow]).find(std::string(name)) != std::string::npos);
  }
  for (const char* path : {"/", "/v1", "/v2/jobs", "/v1/jobs/1/2", "/v1/jobs/1/nothing", "/V1/jobs"}) CHECK(status(get(cluster, path)) == 404);
  CHECK(status(get(cluster, "/v1/%zz")) == 400);
}

TEST_CASE("routes: HEAD is answered as GET is, OPTIONS says which methods there are") {
  test::Cluster cluster;
  CHECK(status(std::get<HttpResponse>(ask(cluster, http::verb::head, "/v1/jobs"))) == 200);
  CHECK(status(std::get<HttpResponse>(ask(cluster, http::verb::head, "/v1/plan"))) == 405);
  CHECK(status(std::get<HttpResponse>(ask(cluster, http::verb::head, "/v1/nothing"))) == 404);
  const auto options = std::get<HttpResponse>(ask(cluster, http::verb::options, "/v1/jobs"));
  CHECK(status(options) == 204);
  CHECK(options[http::field::allow] == "POST, GET, HEAD, OPTIONS");
}

TEST_CASE("routes: only the health check needs no token") {
  CHECK(is_public(HttpRequest{http::verb::get, "/healthz", 11}));
  for (const char* target : {"/v1/version", "/healthz/", "/healthz?x", "/v1/jobs", "//healthz"})
    CHECK_FALSE(is_public(HttpRequest{http::verb::get, target, 11}));
  test::Cluster cluster;
  CHECK(json(get(cluster, "/healthz")) == proto::Json({{"status", "ok"}}));
}

TEST_CASE("routes: a job is submitted, shown, listed and cancelled") {
  test::Cluster cluster;
  const auto created = post(cluster, "/v1/jobs", kJob);
  REQUIRE(status(created) == 201);
  CHECK(json(created)["id"] == 1);
  CHECK(json(created)["run_dir"].get<std::string>().find("/tmp/results/hello_") == 0);
  CHECK(json(get(cluster, "/v1/jobs/1"))["state"] == "QUEUED");
  post(cluster, "/v1/jobs", kJob);
  CHECK(json(get(cluster, "/v1/jobs"))["jobs"][0]["id"] == 2);  // newest first
  CHECK(json(post(cluster, "/v1/jobs/1/cancel"))["state"] == "CANCELLED");
  CHECK(status(post(cluster, "/v1/jobs/1/cancel")) == 409);
  CHECK(json(get(cluster, "/v1/jobs?state=QUEUED"))["jobs"].size() == 1);
  CHECK(json(get(cluster, "/v1/jobs/1/result"))["error"].is_null());
  CHECK(json(get(cluster, "/v1/jobs/1/metrics"))["points"].empty());
}

TEST_CASE("routes: a job that is not valid is refused with all its errors, and no job is made") {
  test::Cluster cluster;
  for (const char* body : {"", "{", "[]", R"({"name": "x"})", R"({"command": ["x"], "nmae": 1, "scaling_config": {"num_workers": 0}})",
                           R"({"command": ["x"], "working_dir": "relative", "run_config": {"storage_path": "/r"}})"}) {
    INFO(body);
    for (const char* route : {"/v1/jobs", "/v1/plan"}) {
      const auto refused = post(cluster, route, body);
      CHECK(status(refused) == 400);
      CHECK_FALSE(json(refused)["errors"].empty());
    }
  }
  CHECK(cluster.dispatcher.jobs().all().empty());
}

TEST_CASE("routes: a job that does not exist is 404 everywhere") {
  test::Cluster cluster;
  for (const char* id : {"1", "0", "-1", "abc", "1x", "99999999999999999999", "%20"})
    for (const char* rest : {"", "/result", "/metrics", "/logs", "/stream"}) CHECK(status(get(cluster, "/v1/jobs/" + std::string(id) + rest)) == 404);
  CHECK(status(post(cluster, "/v1/jobs/1/cancel")) == 404);
}

TEST_CASE("routes: a plan acts on nothing") {
  test::Cluster cluster;
  const auto nowhere = json(post(cluster, "/v1/plan", kJob));
  CHECK(nowhere["would_start"] == false);
  CHECK(nowhere["feasible"] == false);
  cluster.connect("a");
  const auto plan = json(post(cluster, "/v1/plan", kJob));
  CHECK(plan["would_start"] == true);
  CHECK(plan["ranks"][0]["node"] == "a");
  CHECK(cluster.dispatcher.jobs().all().empty());
}

TEST_CASE("routes: a log is asked of the node where that attempt's rank ran") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 2);
  const auto id = cluster.submit(2, 1);
  cluster.reserve(*a);
  cluster.end(*a, id, Attempt(1), 0, 3);
  cluster.end(*a, id, Attempt(1), 1, 143);
  REQUIRE(cluster.state(id).attempt == Attempt(2));
  const auto newest = std::get<ReadLog>(ask(cluster, http::verb::get, "/v1/jobs/1/logs?rank=1&offset=10&limit=100"));
  CHECK(newest.node == "a");
  CHECK(newest.read.key == proto::RankKey{id, Attempt(2), 1});
  CHECK(newest.read.offset == 10);
  CHECK(newest.read.bytes_max == 100);
  const auto older = std::get<ReadLog>(ask(cluster, http::verb::get, "/v1/jobs/1/logs?attempt=1&tail=20"));
  CHECK(older.read.key.attempt == Attempt(1));
  CHECK(older.read.offset == -20);
  for (const char* query : {"rank=2", "rank=-1", "attempt=3", "attempt=0"})
    CHECK(status(get(cluster, std::string("/v1/jobs/1/logs?") + query)) == 404);
  for (const char* query : {"rank=x", "offset=-1", "tail=-1", "limit=0", "limit=1048577", "limit="})
    CHECK(status(get(cluster, std::string("/v1/jobs/1/logs?") + query)) == 400);
  const auto queued = cluster.submit(1);
  CHECK(status(get(cluster, "/v1/jobs/" + to_string(queued) + "/logs")) == 409);
}

TEST_CASE("routes: following takes the server's hand") {
  test::Cluster cluster;
  cluster.submit(1);
  const auto all = std::get<FollowJob>(ask(cluster, http::verb::get, "/v1/jobs/1/stream?logs=true"));
  CHECK(all.logs);
  CHECK(all.rank == -1);
  const auto one = std::get<FollowJob>(ask(cluster, http::verb::get, "/v1/jobs/1/stream?rank=3"));
  CHECK_FALSE(one.logs);
  CHECK(one.rank == 3);
  CHECK(one.from == proto::StreamPosition{});
}

TEST_CASE("routes: a stream that broke is followed from where it was") {
  test::Cluster cluster;
  cluster.submit(1);
  HttpRequest request{http::verb::get, "/v1/jobs/1/stream", 11};
  request.set("Last-Event-ID", "metrics=7,attempt=2,2.0=100");
  const auto follow = std::get<FollowJob>(answer(cluster.dispatcher, request));
  CHECK(follow.from == proto::StreamPosition{7, 2, {{{2, 0}, 100}}});
  request.set("Last-Event-ID", "yesterday");
  CHECK(status(std::get<HttpResponse>(answer(cluster.dispatcher, request))) == 400);
}

TEST_CASE("routes: nodes show what they hold and whether they are there") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 2);
  cluster.submit(1);
  cluster.connect("b", 1);
  auto nodes = json(get(cluster, "/v1/nodes"))["nodes"];
  REQUIRE(nodes.size() == 2);
  CHECK(nodes[0]["used"]["CPU"] == 1.0);
  CHECK(nodes[0]["jobs"] == proto::Json({1}));
  CHECK(nodes[1]["jobs"].empty());
  CHECK(nodes[0]["alive"] == true);
  cluster.reserve(*a);
  cluster.dispatcher.agent_left(*a);
  CHECK(json(get(cluster, "/v1/nodes"))["nodes"][0]["alive"] == false);
}

TEST_CASE("routes: hold and release") {
  test::Cluster cluster;
  REQUIRE(status(post(cluster, "/v1/jobs", kJob)) == 201);
  const auto held = json(post(cluster, "/v1/jobs/1/hold"));
  CHECK(held.at("held") == true);
  CHECK(held.at("reason") == "held by a user; `rtrain release 1` lets it start");
  CHECK(status(post(cluster, "/v1/jobs/1/hold")) == 409);
  auto agent = cluster.connect("a");
  CHECK(json(get(cluster, "/v1/jobs/1")).at("state") == "QUEUED");
  CHECK(json(post(cluster, "/v1/jobs/1/release")).at("state") == "STARTING");
  CHECK(status(post(cluster, "/v1/jobs/1/release")) == 409);
  CHECK(status(post(cluster, "/v1/jobs/7/hold")) == 404);
}

TEST_CASE("routes: the events of a job, a page at a time") {
  test::Cluster cluster;
  REQUIRE(status(post(cluster, "/v1/jobs", kJob)) == 201);
  for (const char* verb : {"hold", "release", "hold", "cancel"}) REQUIRE(status(post(cluster, std::string("/v1/jobs/1/") + verb)) == 200);
  std::vector<std::string> types;
  proto::Json page;
  for (std::int64_t from = 0;; from = page.at("next").get<std::int64_t>()) {
    page = json(get(cluster, "/v1/jobs/1/events?limit=2&from=" + std::to_string(from)));
    for (const auto& event : page.at("events")) {
      types.push_back(event.at("type").get<std::string>());
      CHECK(event.at("at") == proto::rfc3339(cluster.wall));
      CHECK(proto::event_from_json(event).has_value());
    }
    if (page.at("more") == false) break;
  }
  CHECK(types == std::vector<std::string>{"job_submitted", "job_held", "job_released", "job_held", "cancel_requested"});
  CHECK(page.at("next") == 5);
  for (const char* query : {"from=-1", "limit=0", "limit=10001", "from=x"}) CHECK(status(get(cluster, std::string("/v1/jobs/1/events?") + query)) == 400);
  CHECK(status(get(cluster, "/v1/jobs/2/events")) == 404);
}
