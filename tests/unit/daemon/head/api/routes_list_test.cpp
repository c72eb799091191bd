// GET /v1/jobs: every job once, however many have ended, and no request reads more of the store than it may.
#include "daemon/head/api/documents.h"
#include "daemon/head/api/routes.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/head/fake_agent.h"

#include <numeric>

namespace routes_list_test {

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

/// Counts the jobs that are read from the store.
struct CountingStore : store::MemoryStore {
  int read = 0;
  Result<std::optional<core::JobState>> ended_job(JobId id) override {
    ++read;
    return MemoryStore::ended_job(id);
  }
};

}  // namespace

TEST_CASE("routes: rows of jobs that did not change are made once, however many ask", "[F49]") {
  auto disk = std::make_shared<CountingStore>();
  test::Cluster cluster(disk, {});
  constexpr int kJobs = 1500;
  for (int i = 0; i < kJobs; ++i)
    REQUIRE(cluster.dispatcher.commands().cancel(cluster.submit(1), "ann").has_value());
  int requests = 0;
  disk->read = 0;
  CHECK(walk(cluster, "", 1000, requests) == down_from(kJobs));
  const int first = disk->read;
  CHECK(first <= kJobs);
  const auto next = cluster.submit(1);  // every page is another now
  for (int i = 0; i < 20; ++i) CHECK(walk(cluster, "", 1000, requests) == down_from(next.value()));
  CHECK(disk->read == first);
  // One that is forgotten is gone from the rows as well.
  cluster.dispatcher.retention().prune({{}, 10, {}, false}, [](const store::Pruned&) {});
  CHECK(walk(cluster, "", 1000, requests) == down_from(next.value(), next.value() - 10));
}

TEST_CASE("routes: a page says what is true now", "[F49]") {
  test::Cluster cluster;
  const auto first = cluster.submit(1), second = cluster.submit(1);
  const auto job = [&](JobId id) {
    const auto page = ask(cluster, "");
    for (const auto& row : page["jobs"])
      if (row["id"] == id.value()) return row;
    return proto::Json();
  };
  CHECK(job(second)["queue_position"] == 2);
  CHECK(job(first) == proto::Json(job_doc(*cluster.dispatcher.jobs().find(first),
                                          cluster.dispatcher.scheduling().waiting(first))));
  REQUIRE(cluster.dispatcher.commands().hold(first, "ann").has_value());
  CHECK(job(first)["held"] == true);
  CHECK(job(second)["queue_position"] == 1);
  auto a = cluster.connect("a", 1);
  cluster.reserve(*a);
  cluster.start(*a, second, Attempt(1), 0);
  CHECK(job(second)["state"] == "RUNNING");
  proto::RankReport report;
  report.key = {second, Attempt(1), 0};
  report.seq = 1;
  report.metrics = {{"loss", 0.5}};
  cluster.dispatcher.agent_says(*a, report);
  CHECK(job(second)["metrics"]["loss"] == 0.5);
  proto::RankProgress progress;
  progress.key = {second, Attempt(1), 0};
  progress.step = 7;
  cluster.dispatcher.agent_says(*a, progress);
  CHECK(job(second)["progress"]["step"] == 7);
  cluster.end(*a, second, Attempt(1), 0, 0);
  CHECK(job(second)["state"] == "SUCCEEDED");
}

TEST_CASE("rows: of limited size, the one that was not used for longest goes", "[F49]") {
  JobRows rows;
  const auto row = [](std::int64_t id) {
    return JobRow{JobId(id), core::JobPhase::kFailed, "ann", 0, std::string(1 << 20, 'x'), 1, 0, 1};
  };
  constexpr std::int64_t kRows = 100;
  for (std::int64_t id = 1; id <= kRows; ++id) {
    rows.put(row(id));
    REQUIRE(rows.find(JobId(1)) != nullptr);
  }
  CHECK(rows.bytes() <= JobRows::kRowBytesMax);
  CHECK(rows.find(JobId(2)) == nullptr);
  CHECK(rows.find(JobId(kRows)) != nullptr);
  rows.forget(JobId(1));
  CHECK(rows.find(JobId(1)) == nullptr);
  rows.put_page("a", 1, "text");
  CHECK(*rows.page("a", 1) == "text");
  CHECK(rows.page("a", 2) == nullptr);
  CHECK(rows.page("b", 1) == nullptr);
}

TEST_CASE("routes: all jobs are listed, page by page, those that only the store knows among them") {
  test::Cluster cluster;
  constexpr int kJobs = 3500;
  for (int i = 1; i <= kJobs; ++i) {
    const auto id = *cluster.dispatcher.commands().submit(test::Cluster::spec(1), i == 7 ? "rare" : "ann");
    if (i % 100 != 0) REQUIRE(cluster.dispatcher.commands().cancel(id, "a test").has_value());
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
  const auto array = *cluster.dispatcher.commands().submit(spec);
  for (int i = 0; i < 2500; ++i)
    REQUIRE(cluster.dispatcher.commands().cancel(cluster.submit(1), "a test").has_value());
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

}  // namespace routes_list_test
