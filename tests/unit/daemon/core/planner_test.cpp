#include "tests/unit/daemon/core/planner_scene.h"

#include "tests/support/catch.h"
#include "tests/support/rounds.h"

#include <algorithm>
#include <random>

namespace planner_test {

using namespace rtrain;
using namespace rtrain::core;
using namespace rtrain::test;

// ---- order --------------------------------------------------------------------------------------

TEST_CASE("planner: higher priority first, then the least share, then the number") {
  Scene scene({node("a", 1)});
  FairShare share;
  share.charge("default", "ann", {{"CPU", 1}}, 1000, kNow);
  share.charge("default", "bob", {{"CPU", 1}}, 10, kNow);
  scene.planner.set_fair_share(share);
  const auto of = [](std::string user) { return [user](WaitingJob& j) { j.user = user; }; };
  scene.wait(job(1, 1, of("ann")));
  scene.wait(job(2, 1, of("bob")));
  scene.wait(job(3, 1, of("cyd")));
  scene.wait(job(4, 1, of("cyd")));
  scene.wait(with_priority(5, 1, 1));
  CHECK(scene.planner.order() == std::vector<JobId>{JobId(5), JobId(3), JobId(4), JobId(2), JobId(1)});
  CHECK(scene.pass() == Ids{5});
  CHECK(scene.explain(3).position == 1);
  CHECK(scene.explain(1).position == 4);
}

TEST_CASE("planner: queues take turns by what they used over their weight") {
  struct Row {
    double used_a, used_b, weight_b;
    std::vector<JobId> order;
  };
  for (const auto& row : {Row{10, 10, 1, {JobId(1), JobId(2)}}, Row{20, 10, 1, {JobId(2), JobId(1)}},
                          Row{20, 30, 2, {JobId(2), JobId(1)}}, Row{20, 50, 2, {JobId(1), JobId(2)}}}) {
    Scene scene({node("n", 1)});
    proto::Queues queues;
    queues["a"];
    queues["b"].weight = row.weight_b;
    scene.planner.set_queues(queues);
    FairShare share;
    share.charge("a", "x", {{"CPU", 1}}, row.used_a, kNow);
    share.charge("b", "x", {{"CPU", 1}}, row.used_b, kNow);
    scene.planner.set_fair_share(share);
    scene.wait(job(1, 1, [](WaitingJob& j) { j.scheduling.queue = "a"; }));
    scene.wait(job(2, 1, [](WaitingJob& j) { j.scheduling.queue = "b"; }));
    CHECK(scene.planner.order() == row.order);
  }
}

// ---- backfill -----------------------------------------------------------------------------------

TEST_CASE(
    "planner: a job behind one that waits starts when it ends before that one can, or takes nothing of its "
    "place") {
  struct Row {
    const char* name;
    WaitingJob behind;
    bool starts;
  };
  const std::vector<Row> rows{
      {"ends in time", limited(3, 1, 50), true},
      {"ends too late", limited(3, 1, 101), false},
      {"never ends", job(3, 1), false},
      {"beside it",
       job(3, 1, [](WaitingJob& j) { j.scaling.resources_per_worker = proto::Resources{{"licence", 1}}; }),
       true},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    Scene scene({node("a", 4, 0, {{"licence", 1}})});
    scene.wait(limited(1, 3, 100));
    scene.wait(job(2, 4));
    CHECK(scene.pass() == Ids{1});
    scene.wait(row.behind);
    CHECK(scene.pass() == (row.starts ? Ids{3} : Ids{}));
    CHECK(scene.explain(2).expected_start_ms == kNow + 100'000);
    if (!row.starts) CHECK(scene.explain(3).reason == "waits behind job 2");
  }
  Scene scene({node("a", 5)});  // one CPU is left over when job 2 runs
  scene.wait(limited(1, 3, 100));
  scene.wait(job(2, 4));
  scene.wait(job(3, 1));
  scene.wait(job(4, 1));
  CHECK(scene.pass() == Ids{1, 3});
}

TEST_CASE("planner: behind a job whose start nobody knows, nothing is given that it could use") {
  Scene scene({node("a", 4), node("g", 4, 2)});
  scene.wait(job(1, 2, [](WaitingJob& j) { j.scaling.resources_per_worker = proto::Resources{{"GPU", 1}}; }));
  scene.wait(job(2, 1, [](WaitingJob& j) { j.scaling.resources_per_worker = proto::Resources{{"GPU", 1}}; }));
  scene.wait(limited(3, 4, 1));
  scene.wait(limited(4, 4, 1));
  CHECK(scene.pass() == Ids{1, 3});  // job 3 goes where no GPU is, job 4 would have to go to g
  CHECK(scene.where(3) == "a a a a");
  CHECK(scene.explain(2).expected_start_ms == 0);
}

TEST_CASE("planner: no job that waits starts later than it was promised, whatever is backfilled") {
  for (unsigned seed = 1; seed <= 100; ++seed) {
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const auto pick = [&](int low, int high) {
      return std::uniform_int_distribution<int>(low, high)(random);
    };
    std::vector<NodeView> nodes;
    for (int i = pick(1, 4); i > 0; --i) nodes.push_back(node("n" + std::to_string(i), 4, pick(0, 4)));
    Scene scene(nodes);
    std::map<JobId, proto::UnixMs> promised, ends;
    std::int64_t next = 0;
    for (int step = 0; step < 80; ++step) {
      for (int i = pick(0, 2); i > 0; --i) {
        auto waiting = limited(++next, pick(1, 6), pick(1, 100));
        if (pick(0, 2) == 0) waiting.scaling.resources_per_worker = proto::Resources{{"CPU", 1}, {"GPU", 1}};
        waiting.scaling.placement_strategy = static_cast<proto::PlacementStrategy>(pick(0, 3));
        scene.wait(waiting);
      }
      for (const auto id : scene.pass()) {
        ends[JobId(id)] =
            scene.now + static_cast<proto::UnixMs>(*scene.jobs.at(JobId(id)).scheduling.time_limit_s * 1000);
        if (const auto said = promised.find(JobId(id)); said != promised.end())
          REQUIRE(scene.now <= said->second);
      }
      // Only the first in line is promised: others before it may come (none of higher priority do here).
      for (const auto& [id, waiting] : scene.jobs)
        if (scene.planner.waits(id)) {
          const auto explanation = scene.explain(id.value());
          if (explanation.feasible && explanation.expected_start_ms != 0)
            promised.try_emplace(id, explanation.expected_start_ms);
          if (explanation.feasible && promised.contains(id)) REQUIRE(scene.now <= promised.at(id));
          if (explanation.feasible) break;
        }
      // The next end, at its limit or before.
      if (ends.empty()) continue;
      const auto first = std::ranges::min_element(ends, {}, [](const auto& e) { return e.second; });
      const bool early = pick(0, 2) == 0;
      const auto which = early ? std::next(ends.begin(), pick(0, static_cast<int>(ends.size()) - 1)) : first;
      scene.now = early ? std::min(scene.now + 1, first->second) : std::max(scene.now, first->second);
      scene.end(which->first.value());
      ends.erase(which);
    }
  }
}

// ---- quotas, reservations -----------------------------------------------------------------------

TEST_CASE("planner: who is over a quota waits and blocks nobody") {
  struct Row {
    const char* name;
    std::function<void(proto::QueueRules&)> rule;
    Ids starts;
    const char* reason;
  };
  const std::vector<Row> rows{
      {"jobs",
       [](auto& r) { r.queue.jobs_max = 1; },
       {1, 4},
       "queue small may run 1 jobs at a time and runs 1"},
      {"CPUs",
       [](auto& r) { r.queue.cpus_max = 3; },
       {1, 4},
       "queue small may hold 3 CPU and holds 2; this job needs 2"},
      {"a user's jobs",
       [](auto& r) { r.user.jobs_max = 1; },
       {1, 3, 4},
       "user ann in queue small may run 1 jobs at a time and runs 1"},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    Scene scene({node("a", 16)});
    proto::Queues queues;
    row.rule(queues["small"]);
    scene.planner.set_queues(queues);
    const auto of = [](std::string user) {
      return [user](WaitingJob& j) { j.scheduling.queue = "small", j.user = user; };
    };
    scene.wait(job(1, 2, of("ann")));
    scene.wait(job(2, 2, of("ann")));
    scene.wait(job(3, 2, of("bob")));
    scene.wait(job(4, 2));
    auto started = scene.pass();
    std::ranges::sort(started);
    CHECK(started == row.starts);
    CHECK(scene.explain(2).reason == row.reason);
    scene.end(1);
    CHECK_FALSE(scene.pass().empty());
  }
}

TEST_CASE("planner: what is reserved is for those who name it, and nobody runs into it") {
  Scene scene({node("a", 2), node("b", 2)});
  scene.planner.set_reservations({{"demo", {"b"}, kNow + 100'000, kNow + 200'000, {"ann"}, "root"}});
  const auto demo = [](std::string user) {
    return [user](WaitingJob& j) { j.scheduling.reservation = "demo", j.user = user; };
  };
  scene.wait(job(1, 2, demo("ann")));
  scene.wait(job(2, 2, demo("bob")));
  scene.wait(limited(3, 2, 90));
  scene.wait(limited(4, 2, 110));
  CHECK(scene.pass() == Ids{3});
  CHECK(scene.where(3) == "a a");  // then only b is left, and job 4 is too long for it
  CHECK(scene.last.look_again_ms == kNow + 100'000);
}

TEST_CASE("planner: a job that a later reservation keeps waiting is told so", "[F48]") {
  Scene scene({node("a", 2), node("b", 2)});
  scene.planner.set_reservations({{"demo", {"a", "b"}, kNow + 100'000, kNow + 200'000, {"ann"}, "root"}});
  scene.wait(job(1, 1));
  CHECK(scene.pass().empty());
  const auto from = proto::rfc3339(kNow + 100'000);
  CHECK(scene.explain(1).reason ==
        "needs 1 x {CPU: 1}, none fits now; node a is kept for the reservation demo from " + from +
            " on, which the job could run into: it has no time limit; node b is kept for the reservation "
            "demo from " +
            from + " on, which the job could run into: it has no time limit");
  scene.planner.leave(JobId(1));
  scene.wait(limited(2, 1, 110));
  CHECK(scene.pass().empty());
  CHECK(scene.explain(2).reason.find("node a is kept for the reservation demo from " + from +
                                     " on, which the job would run into with its time limit") !=
        std::string::npos);
  scene.planner.leave(JobId(2));
  scene.wait(limited(3, 1, 90));
  CHECK(scene.pass() == Ids{3});
}

TEST_CASE("planner: of nodes, some of which are kept for later, the others count", "[F48]") {
  Scene scene({node("a", 2), node("b", 2)});
  scene.planner.set_reservations({{"demo", {"b"}, kNow + 100'000, kNow + 200'000, {"ann"}, "root"}});
  scene.wait(job(1, 3));
  CHECK(scene.pass().empty());
  const auto reason = scene.explain(1).reason;
  CHECK(
      reason.starts_with("needs 3 x {CPU: 1}, 2 fit now; node a has 2 of 2 CPU free; node b is kept for the "
                         "reservation demo from "));
}

TEST_CASE("planner: a reservation begins, and ends") {
  Scene scene({node("a", 2), node("b", 2)});
  scene.planner.set_reservations({{"demo", {"b"}, kNow + 100'000, kNow + 200'000, {"ann"}, "root"}});
  const auto demo = [](std::string user) {
    return [user](WaitingJob& j) { j.scheduling.reservation = "demo", j.user = user; };
  };
  scene.wait(job(1, 2, demo("ann")));
  scene.wait(job(2, 2, demo("bob")));
  scene.wait(job(3, 4));
  CHECK(scene.pass().empty());
  CHECK(scene.explain(1).reason ==
        "waits for the reservation demo, which begins at " + proto::rfc3339(kNow + 100'000));
  CHECK(scene.explain(2).reason == "the reservation demo is not for bob");
  scene.now = kNow + 100'000;
  CHECK(scene.pass() == Ids{1});
  CHECK(scene.where(1) == "b b");
  CHECK(scene.last.look_again_ms == kNow + 200'000);
  scene.end(1);
  CHECK(scene.pass().empty());  // job 3 may not have b yet
  scene.now = kNow + 200'000;
  CHECK(scene.pass() == Ids{3});
  CHECK(scene.explain(2).reason == "the reservation demo is not for bob");
}

// ---- places -------------------------------------------------------------------------------------

TEST_CASE("planner: cordoned, unwanted and out-of-service things are not used") {
  auto cordoned = node("a", 4);
  cordoned.cordoned = true;
  auto broken = node("b", 4, 2);
  broken.gpus_out = {0};
  auto other = node("c", 4, 2);
  other.info.gpus[0].name = other.info.gpus[1].name = "NVIDIA H100 80GB HBM3";
  other.info.labels = {{"zone", "z1"}};
  Scene scene({cordoned, broken, other});
  const auto gpu = [](WaitingJob& j) { j.scaling.resources_per_worker = proto::Resources{{"GPU", 1}}; };
  scene.wait(job(1, 1, [&](WaitingJob& j) { gpu(j), j.scaling.accelerator_type = "h100"; }));
  scene.wait(job(2, 1, [&](WaitingJob& j) {
    gpu(j), j.scaling.label_selector = {{"zone", *proto::parse_label_match("!z1")}};
  }));
  scene.wait(job(3, 1, [&](WaitingJob& j) {
    gpu(j), j.scaling.label_selector = {{"zone", *proto::parse_label_match("!z1")}};
  }));
  CHECK(scene.pass() == Ids{1, 2});
  CHECK(scene.where(1) == "c");
  CHECK(scene.where(2) == "b");
  CHECK(scene.ranks.at(JobId(2))[0].gpus == std::vector<int>{1});
  scene.wait(job(4, 9));
  CHECK_FALSE(scene.explain(4).feasible);
  CHECK(scene.explain(4).reason.find("node a is cordoned") != std::string::npos);
}

TEST_CASE("planner: names of accelerators") {
  struct Row {
    const char* product;
    const char* wanted;
    bool is;
  };
  for (const auto& row :
       {Row{"NVIDIA H100 80GB HBM3", "H100", true}, Row{"NVIDIA H100 80GB HBM3", "h100 80gb hbm3", true},
        Row{"NVIDIA H100 80GB HBM3", "80GB", false}, Row{"Tesla V100-SXM2-16GB", "V100", true},
        Row{"NVIDIA L40S", "L40", false}, Row{"NVIDIA GeForce RTX 4090", "4090", true},
        Row{"", "H100", false}})
    CHECK(is_accelerator(row.product, row.wanted) == row.is);
}

TEST_CASE("planner: shares of a GPU are packed onto the same one") {
  Scene scene({node("a", 8, 2)});
  const auto share = [](double gpu) {
    return [gpu](WaitingJob& j) { j.scaling.resources_per_worker = proto::Resources{{"GPU", gpu}}; };
  };
  for (int i = 1; i <= 3; ++i) scene.wait(job(i, 1, share(0.5)));
  scene.wait(job(4, 1, share(1)));
  CHECK(scene.pass() == Ids{1, 2, 3});
  CHECK(scene.ranks.at(JobId(1))[0].gpus == std::vector<int>{0});
  CHECK(scene.ranks.at(JobId(2))[0].gpus == std::vector<int>{0});
  CHECK(scene.ranks.at(JobId(3))[0].gpus == std::vector<int>{1});
  scene.end(3);
  CHECK(scene.pass() == Ids{4});
  // Views that are held and given back say the same.
  NodeView view = node("v", 8, 2);
  const proto::RankPlacement rank{0, "v", 0, 0, {1}};
  hold(view, rank, {{"GPU", 0.5}});
  hold(view, rank, {{"GPU", 0.25}});
  CHECK(view.gpu_shares.at(1) == 0.75);
  release(view, rank, {{"GPU", 0.5}});
  CHECK(view.gpus_used == std::set<int>{1});
  release(view, rank, {{"GPU", 0.25}});
  CHECK(view.gpus_used.empty());
  CHECK(view.gpu_shares.empty());
}

TEST_CASE("planner: a job stays below one switch where it wants to") {
  const auto racked = [](std::string name, double cpus, std::string rack) {
    auto view = node(name, cpus);
    view.info.labels["rtrain/rack"] = rack;
    return view;
  };
  const std::vector<NodeView> nodes{racked("a", 4, "r1"), racked("b", 2, "r1"), racked("c", 2, "r2"),
                                    racked("d", 2, "r2"), racked("e", 2, "r2")};
  struct Row {
    const char* name;
    int workers;
    std::optional<proto::TopologyConfig> topology;
    const char* where;
  };
  using proto::TopologyLevel, proto::TopologyMode;
  const std::vector<Row> rows{
      {"without", 5, {}, "a a a a b"},
      {"the rack that it fits most tightly", 5,
       proto::TopologyConfig{TopologyLevel::kRack, TopologyMode::kRequired}, "a a a a b"},
      {"no rack is large enough", 7, proto::TopologyConfig{TopologyLevel::kRack, TopologyMode::kRequired},
       ""},
      {"preferred: then the fewest", 7, proto::TopologyConfig{TopologyLevel::kRack, TopologyMode::kPreferred},
       "a a a a b b c"},
      {"a node", 3, proto::TopologyConfig{TopologyLevel::kNode, TopologyMode::kRequired}, "a a a"},
      {"no node is large enough", 5, proto::TopologyConfig{TopologyLevel::kNode, TopologyMode::kRequired},
       ""},
      {"a node if it can be", 5, proto::TopologyConfig{TopologyLevel::kNode, TopologyMode::kPreferred},
       "a a a a b"},
  };
  for (const auto& row : rows) {
    INFO(row.name);
    Scene scene(nodes);
    scene.wait(job(1, row.workers, [&](WaitingJob& j) { j.scheduling.topology = row.topology; }));
    const auto started = scene.pass();
    CHECK(started.empty() == std::string(row.where).empty());
    if (!started.empty()) CHECK(scene.where(1) == row.where);
  }
}

TEST_CASE("planner: after a restart the nodes that are taken again keep their ranks") {
  Scene scene({node("a", 2), node("b", 2), node("c", 2)});
  scene.wait(job(1, 4, [](WaitingJob& j) { j.last_nodes = {"b", "b", "x", "x"}; }));
  CHECK(scene.pass() == Ids{1});
  CHECK(scene.where(1) == "b b a a");
}

// ---- what it is told and what it is built from --------------------------------------------------

TEST_CASE("planner: told of every change it answers the same as built from the result") {
  for (int seed = 1; seed <= test::rounds(100); ++seed) {
    INFO("seed " << seed);
    std::mt19937 random(static_cast<unsigned>(seed));
    const auto pick = [&](int low, int high) {
      return std::uniform_int_distribution<int>(low, high)(random);
    };
    Planner planner;
    std::map<std::string, NodeView> views;
    std::map<JobId, WaitingJob> waiting;
    std::map<JobId, RunningJob> running;
    Snapshot snapshot;
    snapshot.queues["q"].weight = 2;
    snapshot.queues["q"].user.jobs_max = 3;
    planner.set_queues(snapshot.queues);
    std::int64_t next = 0;
    proto::UnixMs now = kNow;
    const auto set_node = [&](NodeView view) {
      planner.node(view);
      views[view.info.name] = std::move(view);
    };
    for (int step = 0; step < 120; ++step) {
      now += pick(1, 20) * 1000;  // explain() may be a second old
      switch (pick(0, 9)) {
        case 0: {
          auto view = node("n" + std::to_string(pick(0, 6)), pick(1, 8), pick(0, 4));
          if (views.contains(view.info.name)) break;
          view.info.labels["rack"] = "r" + std::to_string(pick(0, 1));
          set_node(std::move(view));
          break;
        }
        case 1: {
          if (views.empty()) break;
          auto view = std::next(views.begin(), pick(0, static_cast<int>(views.size()) - 1))->second;
          (pick(0, 1) == 0 ? view.away : view.cordoned) ^= true;
          view.suspicion = pick(0, 1);
          set_node(std::move(view));
          break;
        }
        case 2:
          snapshot.reservations =
              pick(0, 1) == 0
                  ? std::vector<Reservation>{}
                  : std::vector<Reservation>{
                        {"demo", {"n1", "n2"}, now + pick(-10, 10) * 5000, now + 60'000, {}, "root"}};
          planner.set_reservations(snapshot.reservations);
          break;
        case 3:
        case 4: {
          if (running.empty()) break;
          const auto ends = std::next(running.begin(), pick(0, static_cast<int>(running.size()) - 1));
          for (const auto& rank : ends->second.ranks)
            release(views.at(rank.node), rank, ends->second.job.scaling.resources());
          planner.end(ends->first);
          if (pick(0, 1) == 0) {
            waiting[ends->first] = ends->second.job;
            planner.wait(ends->second.job);
          }
          running.erase(ends);
          break;
        }
        case 5: {
          if (waiting.empty()) break;
          const auto leaves =
              std::next(waiting.begin(), pick(0, static_cast<int>(waiting.size()) - 1))->first;
          planner.leave(leaves);
          waiting.erase(leaves);
          break;
        }
        default: {
          auto added = job(++next, pick(1, 5));
          if (pick(0, 1) == 0)
            added.scaling.resources_per_worker = proto::Resources{{"GPU", pick(0, 1) == 0 ? 1 : 0.5}};
          added.scaling.placement_strategy = static_cast<proto::PlacementStrategy>(pick(0, 3));
          if (pick(0, 3) == 0) added.scaling.min_workers = 1;
          if (pick(0, 2) == 0)
            added.scheduling.topology = proto::TopologyConfig{static_cast<proto::TopologyLevel>(pick(0, 1)),
                                                              static_cast<proto::TopologyMode>(pick(0, 1))};
          if (pick(0, 1) == 0) added.scheduling.time_limit_s = pick(1, 60);
          if (pick(0, 6) == 0) added.scheduling.reservation = "demo";
          added.scheduling.priority = pick(0, 2);
          added.scheduling.queue = pick(0, 1) == 0 ? "q" : "default";
          added.user = pick(0, 1) == 0 ? "ann" : "bob";
          waiting[added.id] = added;
          planner.wait(added);
        }
      }
      snapshot.nodes.clear();
      snapshot.queue.clear();
      snapshot.running.clear();
      for (const auto& [name, view] : views) snapshot.nodes.insert(snapshot.nodes.begin(), view);
      for (const auto& [id, one] : waiting) snapshot.queue.insert(snapshot.queue.begin(), one);
      for (const auto& [id, one] : running) snapshot.running.push_back(one);
      auto built = make_planner(snapshot);
      const auto told = planner.plan(now), expected = built.plan(now);
      REQUIRE(planner.order() == built.order());
      REQUIRE(told.starts.size() == expected.starts.size());
      for (std::size_t i = 0; i < told.starts.size(); ++i) {
        REQUIRE(told.starts[i].id == expected.starts[i].id);
        REQUIRE(proto::Json(told.starts[i].placement.ranks) ==
                proto::Json(expected.starts[i].placement.ranks));
      }
      REQUIRE(told.yields.size() == expected.yields.size());
      for (std::size_t i = 0; i < told.yields.size(); ++i) {
        REQUIRE(told.yields[i].id == expected.yields[i].id);
        REQUIRE(told.yields[i].reason == expected.yields[i].reason);
      }
      REQUIRE(told.look_again_ms == expected.look_again_ms);
      for (const auto& [id, one] : waiting) {
        const auto a = planner.explain(id, now), b = built.explain(id, now);
        REQUIRE(a.reason == b.reason);
        REQUIRE(a.position == b.position);
        REQUIRE(a.expected_start_ms == b.expected_start_ms);
      }
      for (const auto& start : told.starts) {
        for (const auto& rank : start.placement.ranks) {
          auto& view = views.at(rank.node);
          for (const int gpu : rank.gpus)
            REQUIRE((!view.gpus_used.contains(gpu) || view.gpu_shares.contains(gpu)));
          hold(view, rank, waiting.at(start.id).scaling.resources());
          for (const auto& [name, used] : view.used) REQUIRE(used <= view.info.resources.at(name) + 1e-6);
        }
        running[start.id] = {waiting.at(start.id), start.placement.ranks, now};
        planner.start(running[start.id]);
        waiting.erase(start.id);
      }
      for (const auto& order : told.yields) {
        auto& yields = running.at(order.id);
        yields.stopping = true;
        yields.resizing = order.cause == proto::YieldCause::kResize;
        yields.stops_by_ms = std::min(
            yields.job.scheduling.time_limit_s
                ? yields.placed_ms + static_cast<proto::UnixMs>(*yields.job.scheduling.time_limit_s * 1000)
                : kNever,
            now + 60'000);
        planner.stopping(order.id, yields.stops_by_ms, yields.resizing);
      }
    }
  }
}

}  // namespace planner_test
