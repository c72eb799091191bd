// Which rank is to blame, from what the ranks' recorders say.
#include "daemon/core/flights.h"

#include "tests/support/catch.h"

namespace flights_test {

using namespace rtrain;
using core::RankView;
using Presence = core::RankView::Presence;
using proto::Flight;

namespace {

/// Ranks of one job, or of groups within it.
struct Ranks {
  std::vector<proto::RankSnapshot> snapshots;
  std::vector<RankView> views;
  explicit Ranks(int world) : snapshots(static_cast<std::size_t>(world)) {
    std::vector<int> all;
    for (int rank = 0; rank < world; ++rank) all.push_back(rank);
    for (auto& snapshot : snapshots) snapshot.groups = {{"0", "job", all, 0}};
    for (int rank = 0; rank < world; ++rank)
      views.push_back({rank, Presence::kAnswered, &snapshots[static_cast<std::size_t>(rank)]});
  }
  proto::RankSnapshot& operator[](int rank) { return snapshots[static_cast<std::size_t>(rank)]; }
  /// The next collective of this group.
  Flight& call(int rank, const std::string& state, const std::string& operation = "all_reduce",
               std::vector<std::int64_t> shape = {8}, const std::string& group = "0") {
    auto& snapshot = (*this)[rank];
    auto& of = *std::ranges::find_if(snapshot.groups, [&](const auto& one) { return one.path == group; });
    Flight flight;
    flight.group = group;
    flight.seq = ++of.started;
    flight.operation = operation;
    flight.detail = operation == "all_reduce" ? "sum" : "";
    flight.dtype = "Float";
    flight.shape = std::move(shape);
    flight.state = state;
    flight.age_s = 30;
    if (state == "finished") flight.took_s = 0.01;
    return snapshot.flights.emplace_back(flight);
  }
  void lose(int rank, Presence how) {
    views[static_cast<std::size_t>(rank)].presence = how;
    views[static_cast<std::size_t>(rank)].snapshot = nullptr;
  }
  [[nodiscard]] core::FlightReport report() const { return core::compare_flights(views); }
};

}  // namespace

TEST_CASE("flights: the rank that is behind is named, with what it has not come to") {
  Ranks ranks(4);
  for (int rank = 0; rank < 4; ++rank) ranks.call(rank, "finished");
  for (const int rank : {0, 1, 3}) ranks.call(rank, "waiting");
  ranks[2].idle_s = 31;
  const auto report = ranks.report();
  CHECK(report.found);
  CHECK(report.culprit == 2);
  CHECK(report.verdict ==
        "rank 2 has not come to all_reduce(sum) #2 of Float [8], where ranks 0, 1, 3 wait for 30 s: it is "
        "outside of any collective, its last was all_reduce(sum) #1 of Float [8]");
  CHECK(report.ranks[0].waits_for == std::vector<int>{2});
  CHECK(report.ranks[0].where_s == Approx(30));
  CHECK(report.ranks[2].waits_for.empty());
}

TEST_CASE("flights: another operation, and another shape, under the same number") {
  Ranks ranks(3);
  for (const int rank : {0, 2}) ranks.call(rank, "waiting", "all_reduce", {8});
  SECTION("operation") {
    ranks.call(1, "waiting", "broadcast", {8});
    const auto report = ranks.report();
    CHECK(report.culprit == 1);
    CHECK(report.verdict ==
          "the ranks do not make the same call in collective #1 of the job: ranks 0, 2 call all_reduce(sum) "
          "of Float [8]; rank 1 calls broadcast of Float [8]");
  }
  SECTION("shape") {
    ranks.call(1, "failed", "all_reduce", {9});
    const auto report = ranks.report();
    CHECK(report.culprit == 1);
    CHECK(report.verdict.find("rank 1 calls all_reduce(sum) of Float [9]") != std::string::npos);
  }
  SECTION("type") {
    ranks.call(1, "waiting").dtype = "Int";
    CHECK(ranks.report().verdict.find("rank 1 calls all_reduce(sum) of Int [8]") != std::string::npos);
  }
}

TEST_CASE("flights: of two ranks that differ none is the culprit") {
  Ranks ranks(2);
  ranks.call(0, "waiting", "all_reduce", {4});
  ranks.call(1, "waiting", "all_reduce", {5});
  const auto report = ranks.report();
  CHECK(report.found);
  CHECK_FALSE(report.culprit.has_value());
  CHECK(report.verdict.find("Float [4]") != std::string::npos);
  CHECK(report.verdict.find("Float [5]") != std::string::npos);
}

TEST_CASE("flights: a rank that does not answer, and one that has ended") {
  Ranks ranks(2);
  ranks.call(0, "waiting");
  SECTION("silent") {
    ranks.lose(1, Presence::kSilent);
    const auto report = ranks.report();
    CHECK(report.culprit == 1);
    CHECK(report.verdict == "rank 1 does not answer: rank 0 waits for it in all_reduce(sum) #1 of Float [8]");
  }
  SECTION("ended") {
    ranks.lose(1, Presence::kEnded);
    CHECK(ranks.report().culprit == 1);
    CHECK(ranks.report().verdict.starts_with("rank 1 has ended: rank 0 waits for it in all_reduce"));
  }
  SECTION("ended a moment ago, and its end was an error here") {
    ranks.lose(1, Presence::kEnded);
    ranks[0].flights.back().state = "failed";
    ranks[0].flights.back().age_s = 0.2;
    CHECK(ranks.report().culprit == 1);
    CHECK(ranks.report().verdict ==
          "rank 1 has ended: rank 0 met an error in all_reduce(sum) #1 of Float [8]");
  }
  SECTION("that was not asked: nothing is said of it") {
    ranks.lose(1, Presence::kUnknown);
    CHECK_FALSE(ranks.report().culprit.has_value());
    CHECK(ranks.report().ranks[0].waits_for.empty());
  }
}

TEST_CASE("flights: all wait for their loaders") {
  Ranks ranks(3);
  for (int rank = 0; rank < 3; ++rank) {
    ranks.call(rank, "finished");
    ranks[rank].place = "the next batch of its loader";
    ranks[rank].place_s = 12;
  }
  const auto report = ranks.report();
  CHECK_FALSE(report.found);
  CHECK_FALSE(report.culprit.has_value());
  CHECK(
      report.verdict ==
      "no rank waits in a collective for another one: ranks 0-2 wait for the next batch of its loader for 12 "
      "s");
}

TEST_CASE("flights: the culprit is found by way of others, through groups") {
  // 0 waits for 1 in group a, 1 for 2 in group b, 2 computes.
  Ranks ranks(3);
  ranks[0].groups.push_back({"0/0", "a", {0, 1}, 0});
  ranks[1].groups.push_back({"0/0", "a", {0, 1}, 0});
  ranks[1].groups.push_back({"0/1", "b", {1, 2}, 0});
  ranks[2].groups.push_back({"0/1", "b", {1, 2}, 0});
  ranks.call(0, "waiting", "all_gather", {4}, "0/0").unit = "layers.3";
  ranks.call(1, "waiting", "all_gather", {4}, "0/1");
  const auto report = ranks.report();
  CHECK(report.ranks[0].waits_for == std::vector<int>{1});
  CHECK(report.ranks[1].waits_for == std::vector<int>{2});
  CHECK(report.culprit == 2);
  CHECK(report.ranks[0].where == "all_gather #1 of Float [4], unit layers.3, in the group a");
}

TEST_CASE("flights: ranks that wait for each other in different groups are told, and none is blamed") {
  Ranks ranks(2);
  for (int rank = 0; rank < 2; ++rank) {
    ranks[rank].groups.push_back({"0/0", "a", {0, 1}, 0});
    ranks[rank].groups.push_back({"0/1", "b", {0, 1}, 0});
  }
  ranks.call(0, "waiting", "all_reduce", {4}, "0/0");
  ranks.call(1, "waiting", "all_reduce", {4}, "0/1");
  const auto report = ranks.report();
  CHECK(report.found);
  CHECK_FALSE(report.culprit.has_value());
  CHECK(report.verdict ==
        "the ranks wait for each other in different collectives: rank 0 waits for rank 1 in all_reduce(sum) "
        "#1 of "
        "Float [4], in the group a; rank 1 waits for rank 0 in all_reduce(sum) #1 of Float [4], in the group "
        "b");
}

TEST_CASE("flights: a message waits for its peer") {
  Ranks ranks(3);
  auto& flight = ranks.call(0, "waiting", "recv");
  flight.peer = 2;
  ranks[0].groups[0].started = 0;
  const auto report = ranks.report();
  CHECK(report.culprit == 2);
  CHECK(report.ranks[0].where == "recv #1 from rank 2 of Float [8]");
}

TEST_CASE("flights: a message that nobody waited for is no wait") {
  Ranks ranks(2);
  ranks.call(0, "started", "send").peer = 1;
  ranks[0].groups[0].started = 0;
  CHECK(ranks.report().ranks[0].waits_for.empty());
  CHECK(ranks.report().ranks[0].where == "outside of any collective");
  CHECK_FALSE(ranks.report().culprit.has_value());
}

TEST_CASE("flights: a collective that all have started is compared once, and a call that differs is found") {
  Ranks ranks(4);
  for (int rank = 0; rank < 4; ++rank) ranks.call(rank, "queued");
  // The ring of rank 1 has lost its own: rank 0 finds nothing to compare.
  ranks[1].flights.clear();
  ranks[2].flights.clear();
  ranks[3].flights.back().shape = {9};
  const auto report = ranks.report();
  CHECK(report.found);
  CHECK(report.verdict.find("rank 3 calls all_reduce(sum) of Float [9]") != std::string::npos);
}

TEST_CASE("flights: a peer that is no rank of the job, or was not asked, is not waited for") {
  Ranks ranks(2);
  auto& flight = ranks.call(0, "waiting", "recv");
  ranks[0].groups[0].started = 0;
  for (const int peer : {-1, 0, 2, 1 << 30}) {
    flight.peer = peer;
    CHECK(ranks.report().ranks[0].waits_for.empty());
    CHECK_FALSE(ranks.report().culprit.has_value());
  }
  flight.peer = 1;
  ranks.lose(1, Presence::kUnknown);
  CHECK_FALSE(ranks.report().culprit.has_value());
}

TEST_CASE("flights: what a device waits for is known by the numbers alone") {
  Ranks ranks(2);
  for (int rank = 0; rank < 2; ++rank) ranks.call(rank, "queued");
  CHECK_FALSE(ranks.report().found);
  ranks.call(0, "queued", "all_gather");
  const auto report = ranks.report();
  CHECK(report.culprit == 1);
  CHECK(report.ranks[0].where == "all_gather #2 of Float [8] (on its device)");
}

TEST_CASE("flights: ranks that work wait for moments, and nobody is blamed") {
  Ranks ranks(2);
  ranks.call(0, "waiting").age_s = 0.02;
  const auto report = ranks.report();
  CHECK_FALSE(report.found);
  CHECK_FALSE(report.culprit.has_value());
  CHECK(report.verdict == "no rank waits for another one for longer than 1 s: the ranks go on");
}

}  // namespace flights_test
