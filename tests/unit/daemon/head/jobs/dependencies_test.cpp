#include "daemon/head/jobs/dependencies.h"

#include "tests/support/catch.h"

namespace dependencies_test {

using namespace rtrain;
using namespace rtrain::head;
using proto::DependencyKind;

namespace {

constexpr JobId k1(1), k2(2), k3(3), k4(4);
constexpr Standing kWaits{1, 0, 0, 0}, kRuns{1, 1, 0, 0}, kSucceeded{1, 1, 1, 0}, kFailed{1, 1, 1, 1};

Dependencies::StandingOf all(Standing standing) {
  return [standing](JobId) { return standing; };
}

}  // namespace

TEST_CASE("dependencies: after needs a start, afterany an end, afterok a success") {
  struct Row {
    DependencyKind kind;
    Standing standing;
    bool holds, never;
  };
  for (const auto& [kind, standing, holds, never] :
       {Row{DependencyKind::kAfter, kWaits, false, false}, Row{DependencyKind::kAfter, kRuns, true, false},
        Row{DependencyKind::kAfter, kFailed, true, false},
        Row{DependencyKind::kAfterAny, kRuns, false, false},
        Row{DependencyKind::kAfterAny, kFailed, true, false},
        Row{DependencyKind::kAfterAny, kSucceeded, true, false},
        Row{DependencyKind::kAfterOk, kRuns, false, false},
        Row{DependencyKind::kAfterOk, kSucceeded, true, false},
        Row{DependencyKind::kAfterOk, kFailed, false, true},
        Row{DependencyKind::kAfterAny, kForgotten, true, false},
        Row{DependencyKind::kAfterOk, kForgotten, false, true}}) {
    INFO(to_string(kind) << " " << standing.started << standing.ended << standing.failed);
    // Asked when the job comes, and told later: the same.
    Dependencies asked, told;
    asked.add(k2, {{kind, k1}}, all(standing));
    told.add(k2, {{kind, k1}}, all(kWaits));
    const auto changed = told.reached(k1, standing);
    CHECK(changed.empty() == (!holds && !never));
    for (const auto* one : {&asked, &told}) {
      CHECK(one->reason(k2).empty() == holds);
      CHECK((one->reason(k2).find("DependencyNeverSatisfied") != std::string::npos) == never);
      CHECK(one->awaited(k1) == !holds);
    }
  }
}

TEST_CASE("dependencies: reasons are said in words") {
  Dependencies dependencies;
  dependencies.add(k4, {{DependencyKind::kAfterOk, k1}, {DependencyKind::kAfter, k2}}, all(kWaits));
  CHECK(dependencies.reason(k4) == "waits for job 1 to succeed (afterok:1) and 1 more");
  CHECK(dependencies.reached(k1, kSucceeded) == std::vector{k4});
  CHECK(dependencies.reason(k4) == "waits for job 2 to start (after:2)");
  CHECK(dependencies.reached(k2, kRuns) == std::vector{k4});
  CHECK(dependencies.reason(k4).empty());
  dependencies.add(k4, {{DependencyKind::kAfter, k2}, {DependencyKind::kAfterOk, k1}}, all(kWaits));
  CHECK(dependencies.reached(k1, kFailed) == std::vector{k4});
  CHECK(dependencies.reason(k4) ==
        "can never start: job 1 did not succeed (afterok:1, DependencyNeverSatisfied)");
  CHECK(dependencies.reached(k2, kRuns) == std::vector{k4});
  CHECK(dependencies.reason(k4) ==
        "can never start: job 1 did not succeed (afterok:1, DependencyNeverSatisfied)");
}

TEST_CASE("dependencies: a success of what can never start is never, its end may still come", "[R22]") {
  constexpr Standing kStuck{1, 0, 0, 0, false, 1};
  for (const bool told : {false, true}) {
    Dependencies dependencies;
    const std::vector<proto::Dependency> on{{DependencyKind::kAfterOk, k1}};
    dependencies.add(k2, on, all(told ? kWaits : kStuck));
    dependencies.add(k3, {{DependencyKind::kAfterAny, k1}}, all(told ? kWaits : kStuck));
    if (told) CHECK(dependencies.reached(k1, kStuck) == std::vector{k2});
    CHECK(dependencies.never(k2));
    CHECK(dependencies.reason(k2) == "can never start: job 1 can never start (afterok:1)");
    CHECK_FALSE(dependencies.never(k3));
    CHECK(dependencies.reason(k3) == "waits for job 1 to end (afterany:1)");
    CHECK(dependencies.reached(k1, kStuck).empty());
    CHECK(dependencies.reached(k1, kFailed) == std::vector{k2, k3});  // it was cancelled
    CHECK(dependencies.reason(k2) ==
          "can never start: job 1 did not succeed (afterok:1, DependencyNeverSatisfied)");
    CHECK(dependencies.reason(k3).empty());
  }
  // Beside a failure, the failure is the reason.
  Dependencies both;
  both.add(k4, {{DependencyKind::kAfterOk, k1}, {DependencyKind::kAfterOk, k2}}, all(kStuck));
  CHECK(both.reached(k2, kFailed) == std::vector{k4});
  CHECK(both.reason(k4) == "can never start: job 2 did not succeed (afterok:2, DependencyNeverSatisfied)");
}

TEST_CASE("dependencies: only those who wait for a job hear of it") {
  Dependencies dependencies;
  dependencies.add(k2, {{DependencyKind::kAfterAny, k1}}, all(kWaits));
  dependencies.add(k4, {{DependencyKind::kAfterAny, k3}}, all(kWaits));
  CHECK(dependencies.reached(k2, kSucceeded).empty());
  CHECK(dependencies.reached(k1, kRuns).empty());
  CHECK(dependencies.reached(k1, kSucceeded) == std::vector{k2});
  CHECK_FALSE(dependencies.awaited(k1));
  dependencies.remove(k4);
  CHECK_FALSE(dependencies.awaited(k3));
  CHECK(dependencies.reached(k3, kSucceeded).empty());
}

TEST_CASE("dependencies: of an array all jobs count, and one that failed is enough for never") {
  Dependencies dependencies;
  dependencies.add(k2, {{DependencyKind::kAfterOk, k1}}, all({3, 0, 0, 0}));
  CHECK(dependencies.reached(k1, {3, 3, 2, 0}).empty());
  CHECK(dependencies.reached(k1, {3, 3, 2, 1}) == std::vector{k2});
  CHECK(dependencies.reason(k2).find("DependencyNeverSatisfied") != std::string::npos);
  dependencies.add(k3, {{DependencyKind::kAfterAny, k1}}, all({3, 3, 2, 1}));
  CHECK(dependencies.reached(k1, {3, 3, 3, 1}) == std::vector{k3});
}

}  // namespace dependencies_test
