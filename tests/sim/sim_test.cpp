// The simulation holds its rules, and a seed is a run.
#include "common/log/log.h"
#include "tests/sim/cluster.h"
#include "tests/support/catch.h"
#include "tests/support/sanitized.h"

using namespace rtrain;

namespace {

sim::RunResult run(std::uint64_t seed, bool tracing = false, std::optional<fault::Fault> fault = {},
                   int sweeps = -1) {
  static const bool quiet = (log::init("sim", log::Level::kOff), true);
  sim::RunOptions options;
  (void)quiet;
  options.seed = seed;
  options.tracing = tracing;
  options.fault = fault;
  options.size.sweeps = sweeps;
  return sim::run(options);
}

}  // namespace

TEST_CASE("simulation: a seed replays exactly, with and without its trace") {
  for (std::uint64_t seed = 1; seed <= (test::kSanitized ? 5 : 20); ++seed) {
    const auto once = run(seed), again = run(seed, true);
    CHECK(once.trace_hash == again.trace_hash);
    CHECK(once.events == again.events);
    CHECK(once.ended == again.ended);
    CHECK(once.last_lines.empty());
    CHECK_FALSE(again.last_lines.empty());
  }
  CHECK(run(1).trace_hash != run(2).trace_hash);
}

TEST_CASE("simulation: no rule is broken in 300 runs, and things went wrong in them") {
  constexpr int kRuns = test::kSanitized ? 30 : 300;
  int head_starts = 0, jobs = 0, sweeps = 0;
  std::int64_t decisions = 0;
  for (std::uint64_t seed = 10'001; seed <= 10'000 + kRuns; ++seed) {
    const auto result = run(seed);
    if (result.violation)
      FAIL_CHECK("seed " << seed << ": " << result.violation->invariant << ": " << result.violation->what);
    head_starts += result.head_starts;
    jobs += result.jobs;
    sweeps += result.sweeps;
    decisions += result.decisions_compared;
  }
  CHECK(head_starts > 2 * kRuns);
  CHECK(jobs >= kRuns * 20);
  CHECK(sweeps >= kRuns / 3);
  CHECK(decisions >= 3 * kRuns);  // that were those of a run without faults
}

TEST_CASE("simulation: each rule that is broken on purpose is noticed within 200 seeds") {
  if (test::kSanitized) return;  // what the referee notices does not depend on the build
  for (std::size_t number = 0; number < fault::kSimulated; ++number) {
    std::optional<sim::Violation> noticed;
    std::uint64_t seed = 0;
    const bool of_sweeps = number >= static_cast<std::size_t>(fault::Fault::kPromotionReleasesNone);
    while (!noticed && ++seed <= 200)
      noticed = run(seed, false, static_cast<fault::Fault>(number), of_sweeps ? 2 : -1).violation;
    INFO(fault::kNames[number]);
    CHECK(noticed.has_value());
    if (noticed) UNSCOPED_INFO(fault::kNames[number] << ": seed " << seed << ", " << noticed->invariant);
  }
}
