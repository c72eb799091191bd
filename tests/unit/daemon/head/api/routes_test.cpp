#include "daemon/head/api/routes.h"

#include "daemon/head/api/request_user.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

namespace routes_test {

using namespace rtrain;
using namespace rtrain::head;

namespace {

constexpr const char* kJob =
    R"({"name": "hello", "command": ["/bin/true"], "working_dir": "/tmp", "run_config": {"storage_path": "/tmp/results"}})";

Reply ask(test::Cluster& cluster, http::verb method, const std::string& target,
          const std::string& body = {}) {
  HttpRequest request{method, target, 11};
  request.body() = body;
  auto reply = answer(cluster.dispatcher, request);
  // as the server does, elsewhere
  if (auto* spec = std::get_if<ReadSpec>(&reply)) return spec->answer(check_spec(body));
  return reply;
}

HttpResponse get(test::Cluster& cluster, const std::string& target) {
  return std::get<HttpResponse>(ask(cluster, http::verb::get, target));
}
HttpResponse post(test::Cluster& cluster, const std::string& target, const std::string& body = {}) {
  return std::get<HttpResponse>(ask(cluster, http::verb::post, target, body));
}
int status(const HttpResponse& response) { return static_cast<int>(response.result_int()); }
proto::Json json(const HttpResponse& response) { return *proto::parse_json(response.body()); }

}  // namespace

TEST_CASE("routes: each one is known by its path, other methods are 405 and say what is allowed") {
  test::Cluster cluster;
  CHECK(routes().size() == 46);
  for (const auto& route : routes()) {
    std::string path = route.pattern;
    if (const auto name = path.find('{'); name != std::string::npos)
      path.replace(name, path.find('}') - name + 1, "1");
    INFO(path);
    const auto reply = std::get<HttpResponse>(ask(cluster, http::verb::put, path));
    CHECK(status(reply) == 405);
    const auto name = http::to_string(route.method);
    CHECK(std::string(reply[http::field::allow]).find(std::string(name)) != std::string::npos);
  }
  for (const char* path : {"/", "/v1", "/v2/jobs", "/v1/jobs/1/2", "/v1/jobs/1/nothing", "/V1/jobs"})
    CHECK(status(get(cluster, path)) == 404);
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

TEST_CASE(
    "routes: the values of an environment are shown to who submitted the job, and only when asked for") {
  test::Cluster cluster;
  auto spec = proto::parse_json(kJob).value();
  spec["env"] = {{"API_KEY", "s3cret"}};
  const auto as = [&](const char* user, http::verb verb, const char* target, const std::string& body = {}) {
    HttpRequest request{verb, target, 11, body};
    request.set(kUserHeader, user);
    return std::get<HttpResponse>(answer(cluster.dispatcher, request));
  };
  REQUIRE(status(as("ann", http::verb::post, "/v1/jobs", proto::dump_json(spec))) == 201);
  const auto key = [](const HttpResponse& reply) {
    return json(reply)["events"][0]["spec"]["env"]["API_KEY"];
  };
  CHECK(key(as("ann", http::verb::get, "/v1/jobs/1/events")) == "***");
  CHECK(key(as("ann", http::verb::get, "/v1/jobs/1/events?env=true")) == "s3cret");
  CHECK(key(as("bob", http::verb::get, "/v1/jobs/1/events")) == "***");
  CHECK(status(as("bob", http::verb::get, "/v1/jobs/1/events?env=true")) == 401);
}

TEST_CASE("routes: a job that is not valid is refused with all its errors, and no job is made") {
  test::Cluster cluster;
  for (const char* body :
       {"", "{", "[]", R"({"name": "x"})",
        R"({"command": ["x"], "nmae": 1, "scaling_config": {"num_workers": 0}})",
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
    for (const char* rest : {"", "/result", "/metrics", "/logs", "/stream"})
      CHECK(status(get(cluster, "/v1/jobs/" + std::string(id) + rest)) == 404);
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
  const auto newest =
      std::get<ReadLog>(ask(cluster, http::verb::get, "/v1/jobs/1/logs?rank=1&offset=10&limit=100"));
  CHECK(newest.node == "a");
  CHECK(newest.read.key == proto::RankKey{id, Attempt(2), 1});
  CHECK(newest.read.offset == 10);
  CHECK(newest.read.bytes_max == 100);
  const auto older = std::get<ReadLog>(ask(cluster, http::verb::get, "/v1/jobs/1/logs?attempt=1&tail=20"));
  CHECK(older.read.key.attempt == Attempt(1));
  CHECK(older.read.offset == -20);
  for (const char* query : {"rank=2", "attempt=3"})
    CHECK(status(get(cluster, std::string("/v1/jobs/1/logs?") + query)) == 404);
  for (const char* query :
       {"rank=x", "rank=-1", "attempt=0", "offset=-1", "tail=-1", "limit=0", "limit=1048577", "limit="})
    CHECK(status(get(cluster, std::string("/v1/jobs/1/logs?") + query)) == 400);
  const auto queued = cluster.submit(1);
  CHECK(status(get(cluster, "/v1/jobs/" + to_string(queued) + "/logs")) == 409);
}

TEST_CASE("routes: following takes the server's hand") {
  test::Cluster cluster;
  cluster.submit(4);
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
  for (const char* verb : {"hold", "release", "hold", "cancel"})
    REQUIRE(status(post(cluster, std::string("/v1/jobs/1/") + verb)) == 200);
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
  CHECK(types == std::vector<std::string>{"job_submitted", "job_held", "job_released", "job_held",
                                          "cancel_requested"});
  CHECK(page.at("next") == 5);
  for (const char* query : {"from=-1", "limit=0", "limit=10001", "from=x"})
    CHECK(status(get(cluster, std::string("/v1/jobs/1/events?") + query)) == 400);
  CHECK(status(get(cluster, "/v1/jobs/2/events")) == 404);
}

TEST_CASE("routes: who asks is noted, and lists can be asked for one user") {
  test::Cluster cluster;
  const auto as = [&](const std::string& user, http::verb method, const std::string& target,
                      const std::string& body = {}) {
    HttpRequest request{method, target, 11};
    request.set("Rtrain-User", user);
    request.body() = body;
    return std::get<HttpResponse>(answer(cluster.dispatcher, request));
  };
  REQUIRE(status(as("ann", http::verb::post, "/v1/jobs", kJob)) == 201);
  REQUIRE(status(as("bob", http::verb::post, "/v1/jobs", kJob)) == 201);
  CHECK(json(get(cluster, "/v1/jobs/1"))["user"] == "ann");
  const auto of_bob = json(get(cluster, "/v1/jobs?user=bob"))["jobs"];
  REQUIRE(of_bob.size() == 1);
  CHECK(of_bob[0]["id"] == 2);
  CHECK(json(as("bob", http::verb::post, "/v1/jobs/1/hold"))["held_by"] == "bob");
  CHECK(json(as("bob", http::verb::post, "/v1/jobs/1/cancel"))["reason"] == "cancelled by bob");
  CHECK(status(as("a b", http::verb::get, "/v1/jobs")) == 400);
  CHECK(status(as(std::string(65, 'x'), http::verb::get, "/v1/jobs")) == 400);
}

TEST_CASE("routes: an array and its jobs by index") {
  test::Cluster cluster;
  auto spec = *proto::parse_json(kJob);
  spec["scheduling"]["array"] = "0-9%3";
  const auto created = json(post(cluster, "/v1/jobs", proto::dump_json(spec)));
  CHECK(created["id"] == 1);
  CHECK(created["count"] == 10);
  post(cluster, "/v1/jobs", kJob);
  CHECK(json(get(cluster, "/v1/jobs/1_3"))["id"] == 4);
  CHECK(json(get(cluster, "/v1/jobs/1_3"))["array"]["index"] == 3);
  CHECK(json(get(cluster, "/v1/jobs/11"))["array"].is_null());
  for (const char* path :
       {"/v1/jobs/1_10", "/v1/jobs/2_3", "/v1/jobs/11_0", "/v1/jobs/1_", "/v1/jobs/1_x", "/v1/jobs/_3"})
    CHECK(status(get(cluster, path)) == 404);
  CHECK(json(get(cluster, "/v1/jobs?array=1"))["jobs"].size() == 10);
  CHECK(json(post(cluster, "/v1/arrays/1/hold", R"({"indices": "3-5"})"))["jobs"] == proto::Json({4, 5, 6}));
  CHECK(json(post(cluster, "/v1/arrays/1/release", R"({"indices": "4"})"))["jobs"] == proto::Json({5}));
  CHECK(json(post(cluster, "/v1/arrays/1/cancel"))["jobs"].size() == 10);
  CHECK(status(post(cluster, "/v1/arrays/1/cancel")) == 409);
  CHECK(status(post(cluster, "/v1/arrays/11/cancel")) == 404);
  CHECK(status(post(cluster, "/v1/arrays/x/cancel")) == 404);
  CHECK(status(post(cluster, "/v1/arrays/1/cancel", R"({"indices": "5-3"})")) == 400);
  CHECK(status(post(cluster, "/v1/arrays/1/cancel", R"({"index": "3"})")) == 400);
}

TEST_CASE("routes: the queue says what waits and why") {
  proto::HeadConfig config;
  config.queues["night"].weight = 2;
  test::Cluster cluster(std::move(config));
  auto spec = *proto::parse_json(kJob);
  spec["scheduling"] = {{"queue", "night"}, {"priority", 7}, {"hold", true}};
  post(cluster, "/v1/jobs", proto::dump_json(spec));
  post(cluster, "/v1/jobs", kJob);
  const auto queue = json(get(cluster, "/v1/queue"));
  REQUIRE(queue["jobs"].size() == 2);
  // What stands in line comes first.
  CHECK(queue["jobs"][1]["queue"] == "night");
  CHECK(queue["jobs"][1]["priority"] == 7);
  CHECK(queue["jobs"][1]["position"] == 0);
  CHECK(queue["jobs"][1]["reason"].get<std::string>().find("held by") == 0);
  CHECK(queue["jobs"][0]["resources_per_worker"] == proto::Json({{"CPU", 1.0}}));
  REQUIRE(queue["queues"].size() == 2);
  CHECK(queue["queues"][0]["name"] == "default");
  CHECK(queue["queues"][1]["name"] == "night");
  for (const auto& one : queue["queues"]) {
    CHECK(one["running"] == 0);
    CHECK(one["waiting"] == 1);
  }
  CHECK(json(get(cluster, "/v1/queue?limit=1"))["jobs"].size() == 1);
  CHECK(json(get(cluster, "/v1/queue?limit=1"))["queues"].size() == 2);
  CHECK(status(get(cluster, "/v1/queue?limit=0")) == 400);
}

TEST_CASE("routes: nodes are cordoned, drained, labelled and brought back") {
  test::Cluster cluster;
  auto a = cluster.connect("a", 1);
  const auto state = [&] { return json(get(cluster, "/v1/nodes/a"))["state"].get<std::string>(); };
  CHECK(state() == "ready");
  const auto cordoned = json(post(cluster, "/v1/nodes/a/cordon", R"({"reason": "new disk"})"));
  CHECK(cordoned["state"] == "cordoned");
  CHECK(cordoned["reason"] == "cordoned by a user: new disk");
  CHECK(json(post(cluster, "/v1/nodes/a/uncordon"))["state"] == "ready");
  const auto id = cluster.submit(1);
  cluster.reserve(*a);
  cluster.start(*a, id, Attempt(1), 0);
  const auto draining = json(post(cluster, "/v1/nodes/a/drain", R"({"deadline_s": 30})"));
  CHECK(draining["state"] == "draining");
  CHECK(draining["drain_until"] == proto::rfc3339(cluster.wall + 30'000));
  cluster.end(*a, id, Attempt(1), 0);
  CHECK(state() == "drained");
  CHECK(json(post(cluster, "/v1/nodes/a/label", R"({"labels": {"rack": "r1"}})"))["labels"] ==
        proto::Json({{"rack", "r1"}}));
  cluster.dispatcher.agent_says(*a, proto::NodeHealth{{3}, "pid 5 cannot be killed"});
  CHECK(json(get(cluster, "/v1/nodes/a"))["gpus_out"] == proto::Json({3}));
  CHECK(json(post(cluster, "/v1/nodes/a/return", R"({"gpus": [3]})"))["gpus_out"].empty());
  CHECK(status(post(cluster, "/v1/nodes/a/return")) == 409);
  cluster.dispatcher.agent_left(*a);
  CHECK(state() == "away");
  cluster.pass(65);
  cluster.dispatcher.tick();
  CHECK(state() == "lost");
  for (const char* body : {"[", "[]", R"({"why": "x"})", R"({"reason": 3})", R"({"deadline_s": -1})",
                           R"({"deadline_s": 1e9})", R"({"deadline_s": "x"})"}) {
    INFO(body);
    CHECK(status(post(cluster, "/v1/nodes/a/drain", body)) == 400);
  }
  for (const char* body :
       {"", "{}", R"({"labels": {}})", R"({"labels": {"a": 1}})", R"({"labels": {"rtrain/node": "x"}})"})
    CHECK(status(post(cluster, "/v1/nodes/a/label", body)) == 400);
  for (const char* path : {"/v1/nodes/x/cordon", "/v1/nodes/x/drain", "/v1/nodes/x/return"})
    CHECK(status(post(cluster, path)) == 404);
  CHECK(status(get(cluster, "/v1/nodes/x")) == 404);
}

TEST_CASE("routes: reservations are made, shown and deleted") {
  test::Cluster cluster;
  cluster.connect("a", 1);
  const auto until = proto::rfc3339(cluster.wall + 3'600'000);
  const auto body =
      proto::dump_json({{"name", "night"}, {"nodes", {"a"}}, {"users", {"ann"}}, {"end", until}});
  const auto made = post(cluster, "/v1/reservations", body);
  REQUIRE(status(made) == 201);
  CHECK(json(made)["active"] == true);
  CHECK(json(made)["start"] == proto::rfc3339(cluster.wall));
  CHECK(json(made)["by"] == "a user");
  CHECK(json(get(cluster, "/v1/reservations"))["reservations"] == proto::Json::array({json(made)}));
  CHECK(status(post(cluster, "/v1/reservations", body)) == 409);
  for (const char* wrong : {"{}", R"({"name": "x", "nodes": ["a"]})", R"({"name": "x", "nodes": "a"})",
                            R"({"name": "x", "nodes": ["a"], "end": "soon"})",
                            R"({"name": "x", "nodes": ["a"], "end": 5})", R"({"nmae": "x"})"}) {
    INFO(wrong);
    CHECK(status(post(cluster, "/v1/reservations", wrong)) == 400);
  }
  const auto remove = [&] {
    return std::get<HttpResponse>(ask(cluster, http::verb::delete_, "/v1/reservations/night"));
  };
  CHECK(json(remove())["name"] == "night");
  CHECK(status(remove()) == 404);
}

TEST_CASE("routes: a filter that says nothing that there is is refused with the nearest name", "[F50]") {
  test::Cluster cluster;
  post(cluster, "/v1/jobs", kJob);
  const std::pair<const char*, const char*> cases[] = {
      {"/v1/jobs?state=RUNING", "did you mean RUNNING?"},
      {"/v1/jobs?state=queued", "did you mean QUEUED?"},
      {"/v1/jobs?state=", "must be one of QUEUED, STARTING"},
      {"/v1/jobs?stat=RUNNING", "stat: unknown parameter; did you mean state?"},
      {"/v1/jobs?array=0", "array=0: expected a whole number from 1"},
      {"/v1/jobs?array=x", "array=x: expected a whole number"},
      {"/v1/jobs?before=0", "before=0: expected"},
      {"/v1/jobs?limit=0", "limit=0: expected a whole number from 1 to 10000"},
      {"/v1/jobs?limit=10001", "limit=10001: expected"},
      {"/v1/jobs?limit=1&limit=2", "limit: this parameter is given twice"},
      {"/v1/queue?limt=3", "did you mean limit?"},
      {"/v1/jobs/1/stream?logs=yes", "logs=yes: must be one of false, true"},
      {"/v1/jobs/1/stream?rank=-1", "rank=-1: expected"},
      {"/v1/jobs/1/events?from=-1", "from=-1: expected"},
      {"/v1/jobs/1/events?before=1", "before: unknown parameter"},
      {"/v1/jobs/1/metrics?tail=9223372036854775807", "tail=9223372036854775807: expected"},
      {"/v1/jobs/1?x=1", "x: unknown parameter"},
      {"/v1/nodes?state=ready", "state: unknown parameter"},
  };
  for (const auto& [target, words] : cases) {
    INFO(target);
    const auto reply = get(cluster, target);
    CHECK(status(reply) == 400);
    CHECK_THAT(json(reply)["message"].get<std::string>(), Catch::Matchers::Contains(words));
  }
  CHECK(status(get(cluster, "/v1/jobs/1/stream?rank=1")) == 404);
  CHECK(std::holds_alternative<FollowJob>(ask(cluster, http::verb::get, "/v1/jobs/1/stream?logs=1&rank=0")));
}

TEST_CASE("routes: whole numbers are whole and in range, nothing is taken for one", "[F52]") {
  test::Cluster cluster;
  const auto agent = cluster.connect("a", 4);
  const std::pair<const char*, const char*> cases[] = {
      {"/v1/nodes/a/return", R"({"gpus": [4294967297]})"},
      {"/v1/nodes/a/return", R"({"gpus": [3.7]})"},
      {"/v1/nodes/a/return", R"({"gpus": [true]})"},
      {"/v1/nodes/a/return", R"({"gpus": ["3"]})"},
      {"/v1/nodes/a/return", R"({"gpus": [-1]})"},
      {"/v1/nodes/a/return", R"({"gpus": 3})"},
      {"/v1/nodes/a/return", R"({"gpus": [null]})"},
      {"/v1/nodes/a/cordon", R"({"reason": 3})"},
      {"/v1/nodes/a/drain", R"({"deadline_s": true})"},
      {"/v1/nodes/a/drain", R"({"deadline_s": "NaN"})"},
      {"/v1/nodes/a/drain", R"({"deadline_s": -1})"},
      {"/v1/prune", R"({"keep": 3.0})"},
      {"/v1/prune", R"({"keep": 9007199254740992})"},
      {"/v1/prune", R"({"keep": true})"},
      {"/v1/prune", R"({"older_than_s": "Infinity"})"},
      {"/v1/prune", R"({"older_than_s": true})"},
      {"/v1/arrays/1/cancel", R"({"indices": 3})"},
      {"/v1/reservations", R"({"name": "x", "nodes": [1], "end": "2030-01-01T00:00:00Z"})"}};
  for (const auto& [target, body] : cases) {
    INFO(target << " " << body);
    CHECK(status(post(cluster, target, body)) == 400);
  }
  for (const char* id : {"9223372036854775807", "9007199254740992", "99999999999999999999", "1.0", "-1", "0",
                         "1_", "1_-1", "1_4294967296", "_1", "1_1_1"}) {
    INFO(id);
    CHECK(status(get(cluster, std::string("/v1/jobs/") + id)) == 404);
    CHECK(status(post(cluster, std::string("/v1/arrays/") + id + "/cancel")) == 404);
  }
}

TEST_CASE("routes: a job that could not be read again is refused with its place", "[F40]") {
  test::Cluster cluster;
  const auto refused = [&](const std::string& scheduling) {
    const auto reply = post(
        cluster, "/v1/jobs",
        R"({"command": ["/bin/true"], "working_dir": "/tmp", "run_config": {"storage_path": "/tmp/r"}, "scheduling": )" +
            scheduling + "}");
    INFO(scheduling);
    CHECK(status(reply) == 400);
    return json(reply)["errors"][0]["path"].get<std::string>();
  };
  CHECK(refused(R"({"time_limit": "nans"})") == "scheduling.time_limit");
  CHECK(refused(R"({"time_limit": "infs"})") == "scheduling.time_limit");
  CHECK(refused(R"({"begin_at": "2026-02-30T00:00:00Z"})") == "scheduling.begin_at");
  CHECK(json(get(cluster, "/v1/jobs"))["jobs"].empty());
}

TEST_CASE("routes: a large spec is left to another thread, a small one is answered at once", "[F42]") {
  test::Cluster cluster;
  HttpRequest request{http::verb::post, "/v1/plan", 11};
  for (const bool large : {false, true}) {
    auto spec = *proto::parse_json(kJob);
    spec["train_loop_config"]["text"] = std::string(large ? kSpecBytesAtOnce : 10, 'x');
    request.body() = proto::dump_json(spec);
    auto reply = answer(cluster.dispatcher, request);
    REQUIRE(std::holds_alternative<ReadSpec>(reply) == large);
    const auto response =
        large ? std::get<ReadSpec>(reply).answer(check_spec(request.body())) : std::get<HttpResponse>(reply);
    CHECK(status(response) == 200);
  }
}

TEST_CASE("routes: a long list of errors is answered in a few kilobytes", "[F42]") {
  test::Cluster cluster;
  std::string body = R"({"command": ["true"])";
  for (int i = 0; i < 100'000; ++i) body += ",\"K" + std::to_string(i) + "\":1";
  const auto reply = post(cluster, "/v1/plan", body + "}");
  CHECK(status(reply) == 400);
  CHECK(reply.body().size() < 20'000);
  CHECK_THAT(json(reply)["message"].get<std::string>(), Catch::Matchers::Contains("100000 errors"));
  CHECK(status(post(cluster, "/v1/nodes/" + std::string(1000, 'n') + "/cordon")) == 404);
  const auto key = post(cluster, "/v1/prune", "{\"" + std::string(1'000'000, 'k') + "\": 1}");
  CHECK(status(key) == 413);
  CHECK(key.body().size() < 3000);
  CHECK(status(post(cluster, "/v1/nodes/a/cordon", R"({"reason": ")" + std::string(1025, 'r') + "\"}")) ==
        413);
}

TEST_CASE("routes: a prune names its limits, and what is wrong with them") {
  test::Cluster cluster;
  for (const char* body :
       {"", "{}", R"({"dry_run": true})", R"({"older_than_s": -1})", R"({"older_than_s": "7d"})",
        R"({"keep": -1})", R"({"keep": 1.5})", R"({"keep": 1, "dry_run": 1})", R"({"older": 1})"}) {
    INFO(body);
    CHECK(status(post(cluster, "/v1/prune", body)) == 400);
  }
  CHECK(json(post(cluster, "/v1/prune"))["message"].get<std::string>().find("older_than_s or keep") !=
        std::string::npos);
  const auto both = std::get<PruneJobs>(
      ask(cluster, http::verb::post, "/v1/prune", R"({"older_than_s": 60, "keep": 7, "dry_run": true})"));
  CHECK(both.request.ended_before_ms == cluster.wall - 60'000);
  CHECK(both.request.keep_jobs == 7);
  CHECK(both.request.dry_run);
  const auto one = std::get<PruneJobs>(ask(cluster, http::verb::post, "/v1/prune", R"({"keep": 0})"));
  CHECK_FALSE(one.request.ended_before_ms.has_value());
  CHECK(one.request.keep_jobs == 0);
  CHECK_FALSE(one.request.dry_run);
}

TEST_CASE("routes: a key that was used for another array or time limit is refused", "[F09]") {
  test::Cluster cluster;
  const auto submit = [&](const std::string& body, const std::string& key) {
    HttpRequest request{http::verb::post, "/v1/jobs", 11};
    request.body() = body;
    request.set("Idempotency-Key", key);
    return std::get<HttpResponse>(answer(cluster.dispatcher, request));
  };
  const auto scheduled = [&](const std::string& scheduling) {
    auto spec = *proto::parse_json(kJob);
    spec["scheduling"] = *proto::parse_json(scheduling);
    return proto::dump_json(spec);
  };
  const std::vector<std::pair<std::string, std::string>> others{
      {R"({"array": "1,3,7"})", R"({"array": "1,5,7"})"},
      {R"({"array": "0-9%2"})", R"({"array": "0-9%5"})"},
      {R"({"time_limit": "10m"})", R"({"time_limit": "20m"})"}};
  int number = 10;
  for (const auto& [one, other] : others) {
    INFO(other);
    const std::string key = "k" + std::to_string(++number);
    CHECK(status(submit(scheduled(one), key)) == 201);
    CHECK(status(submit(scheduled(one), key)) == 201);
    CHECK(status(submit(scheduled(other), key)) == 409);
  }
}

TEST_CASE("routes: a submit that is sent again with its key gets the first answer", "[F09]") {
  test::Cluster cluster;
  const std::string array =
      R"({"name": "hello", "command": ["/bin/true"], "working_dir": "/tmp", "run_config": {"storage_path": "/tmp/results"}, "scheduling": {"array": "0-4"}})";
  const auto submit = [&](const std::string& body, const std::string& key, const std::string& user = "ann") {
    HttpRequest request{http::verb::post, "/v1/jobs", 11};
    request.body() = body;
    request.set("Idempotency-Key", key);
    request.set("Rtrain-User", user);
    return std::get<HttpResponse>(answer(cluster.dispatcher, request));
  };
  const auto first = submit(array, "k1"), again = submit(array, "k1");
  CHECK(status(first) == 201);
  CHECK(status(again) == 201);
  CHECK(first.body() == again.body());
  CHECK(json(first)["count"] == 5);
  CHECK(cluster.dispatcher.jobs().queue().size() == 5);
  CHECK(json(submit(array, "k2"))["id"] == 6);
  CHECK(json(submit(kJob, "k3"))["id"] == 11);
  // It stays good when the job has ended.
  REQUIRE(cluster.dispatcher.commands().cancel(JobId(11), "ann").has_value());
  CHECK(json(submit(kJob, "k3"))["id"] == 11);
  // The same key for another job, or from another user, is a mistake.
  CHECK(status(submit(kJob, "k1")) == 409);
  CHECK(status(submit(array, "k1", "bob")) == 409);
  CHECK(status(submit(kJob, "two words")) == 400);
  CHECK(status(submit(kJob, std::string(129, 'k'))) == 400);
  CHECK(cluster.dispatcher.jobs().queue().size() == 10);
}

TEST_CASE("routes: the events of an array's job have its spec with its own index", "[F09]") {
  test::Cluster cluster;
  cluster.submit(1, 0, [](proto::JobSpec& spec) { spec.scheduling.array = *proto::parse_array("3-4"); });
  const auto events = json(get(cluster, "/v1/jobs/2/events"));
  CHECK(events["events"][0]["spec"]["train_loop_config"]["array_index"] == 4);
}

TEST_CASE("routes: a node that is lost can be forgotten, one that may come back cannot") {
  test::Cluster cluster;
  auto a = cluster.connect("a");
  const auto remove = [&](const std::string& node) {
    return std::get<HttpResponse>(ask(cluster, http::verb::delete_, "/v1/nodes/" + node));
  };
  REQUIRE(cluster.dispatcher.node_admin().cordon("a", "old", "ann").has_value());
  CHECK(status(remove("a")) == 409);
  CHECK(status(remove("b")) == 404);
  cluster.dispatcher.agent_left(*a);
  CHECK(status(remove("a")) == 409);  // away
  cluster.pass(1000);
  cluster.dispatcher.tick();
  CHECK(json(get(cluster, "/v1/nodes/a"))["state"] == "lost");
  const auto forgotten = remove("a");
  CHECK(status(forgotten) == 200);
  CHECK(json(forgotten)["state"] == "lost");
  CHECK(json(get(cluster, "/v1/nodes"))["nodes"].empty());
  CHECK(status(remove("a")) == 404);
  cluster.connect("a");
  CHECK(json(get(cluster, "/v1/nodes/a"))["state"] == "ready");  // what was said of it went as well
}

TEST_CASE("routes: a node that falls silent says for how long") {
  test::Cluster cluster;
  cluster.connect("a");
  cluster.pass(1);
  CHECK(json(get(cluster, "/v1/nodes/a"))["silent_s"] == 1);
  CHECK(json(get(cluster, "/v1/nodes/a"))["reason"] == "");
  cluster.pass(39);
  const auto node = json(get(cluster, "/v1/nodes/a"));
  CHECK(node["silent_s"] == 40);
  CHECK(node["reason"] == "nothing was heard of its agent for 40 s; it is lost after 64 s");
}

}  // namespace routes_test
