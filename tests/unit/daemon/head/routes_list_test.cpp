// GET /v1/jobs: every job once, however many have ended, and no request reads more of the store than it may.
#include "daemon/head/routes.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

#include <numeric>

using namespace rtrain;
using namespace rtrain::head;

namespace {

proto::Json ask(test::Cluster& cluster, const std::string& query) {
  const HttpRequest request{http::verb::get, "/v1/jobs" + query, 11};
  const auto response = std::get<HttpResponse>(answer(cluster.dispatcher, request));
  INFO(query);
  REQUIRE(response.result_int() == 200);
  return *proto::parse_json(response.body());
}

/// The ids of all pages.
std::vector<std::int64_t> walk(test::Cluster& cluster, const std::string& filter, int limit, int& requests) {
  std::vector<std::int64_t> ids;
  std::string before;
  for (requests = 1;; ++requests) {
    const auto page = ask(cluster, "?limit=" + std::to_string(limit) + before + filter);
    CHECK(page["jobs"].size() <= static_cast<std::size_t>(limit));
    for (const auto& job : page["jobs"]) ids.push_back(job["id"].get<std::int64_t>());
    if (!page["more"].get<bool>()) {
      CHECK(page["next"] == 0);
      return ids;
    }
    before = "&before=" + std::to_string(page["next"].get<std::int64_t>());
  }
}

std::vector<std::int64_t> down_from(std::int64_t last, std::int64_t first = 1) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(last - first + 1));
  std::iota(ids.rbegin(), ids.rend(), first);
  return ids;
}

}  // namespace

TEST_CASE("routes: all jobs are listed, page by page, those that only the store knows among them") {
  test::Cluster cluster;
  constexpr int kJobs = 3500;
  for (int i = 1; i <= kJobs; ++i) {
    const auto id = *cluster.dispatcher.submit(test::Cluster::spec(1), i == 7 ? "rare" : "ann");
    if (i % 100 != 0) REQUIRE(cluster.dispatcher.cancel(id, "a test").has_value());
  }
  REQUIRE(cluster.dispatcher.jobs().all().size() < 2000);
  int requests = 0;
  for (const int limit : {1, 7, 500, 1000, 10'000}) {
    INFO(limit);
    CHECK(walk(cluster, "", limit, requests) == down_from(kJobs));
    CHECK(requests >= kJobs / std::min(limit, 1000));
  }
  CHECK(walk(cluster, "&user=rare", 10, requests) == std::vector<std::int64_t>{7});
  CHECK(requests > 3);  // each of them reads a part of the store
  const auto waiting = walk(cluster, "&state=QUEUED", 1000, requests);
  CHECK(waiting.size() == kJobs / 100);
  CHECK(requests == 1);  // what has not ended is in memory
  CHECK(walk(cluster, "&state=CANCELLED", 1000, requests).size() == kJobs - waiting.size());
  CHECK(walk(cluster, "&state=FAILED", 1000, requests).empty());
}

TEST_CASE("routes: the jobs of an array are found without a look at what came later") {
  test::Cluster cluster;
  for (int i = 0; i < 3; ++i) (void)cluster.submit(1);
  auto spec = test::Cluster::spec(1);
  spec.scheduling.array = *proto::parse_array("0-9");
  const auto array = *cluster.dispatcher.submit(spec);
  for (int i = 0; i < 2500; ++i) REQUIRE(cluster.dispatcher.cancel(cluster.submit(1), "a test").has_value());
  int requests = 0;
  CHECK(walk(cluster, "&array=" + to_string(array), 1000, requests) == down_from(13, 4));
  CHECK(requests == 1);
  CHECK(walk(cluster, "&array=" + to_string(array), 3, requests) == down_from(13, 4));
  CHECK(walk(cluster, "&array=1", 1000, requests).empty());
}

TEST_CASE("routes: a page that is full at the last job says that nothing follows") {
  test::Cluster cluster;
  for (int i = 0; i < 3; ++i) (void)cluster.submit(1);
  CHECK(ask(cluster, "?limit=3")["more"] == false);
  CHECK(ask(cluster, "?limit=2")["more"] == true);
  CHECK(ask(cluster, "?limit=2")["next"] == 2);
  CHECK(ask(cluster, "?before=1")["more"] == false);
}
