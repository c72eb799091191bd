// rtrain-sim: runs the head against simulated agents, users, disks and networks, seed after seed.
#include "common/log/log.h"
#include "proto/json.h"
#include "tests/sim/cluster.h"

#include <boost/program_options.hpp>

#include <cstdio>
#include <fstream>
#include <iostream>

namespace {

namespace po = boost::program_options;
using namespace rtrain;

void print_violation(const sim::RunOptions& options, const sim::Violation& violation) {
  auto again = options;
  again.tracing = true;
  const auto replay = sim::run(again);
  std::fprintf(stderr, "seed %llu, at %s s: broken: %s\n  %s\nThe last %zu lines of its trace:\n",
               static_cast<unsigned long long>(options.seed), sim::to_text(violation.at).c_str(),
               violation.invariant.c_str(), violation.what.c_str(), replay.last_lines.size());
  for (const auto& line : replay.last_lines) std::fprintf(stderr, "  %s\n", line.c_str());
  std::fprintf(
      stderr, "Again: rtrain-sim --seed %llu --runs 1 --jobs %d --nodes %d%s%s%s --trace\n",
      static_cast<unsigned long long>(options.seed), options.size.jobs, options.size.nodes,
      options.size.sweeps < 0 ? "" : (" --sweeps " + std::to_string(options.size.sweeps)).c_str(),
      options.fault ? " --fault " : "",
      options.fault ? std::string(fault::kNames[static_cast<std::size_t>(*options.fault)]).c_str() : "");
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 1;
  int runs = 100, violations_max = 3;
  bool trace = false, hashes = false;
  std::string output, fault_name;
  sim::RunOptions options;
  po::options_description described(
      "rtrain-sim [options]: the head against a simulated cluster, from a seed");
  auto add = described.add_options();
  add("help,h", "this text");
  add("seed", po::value(&seed)->default_value(seed), "of the first run; the next ones count on");
  add("runs", po::value(&runs)->default_value(runs), "how many");
  add("jobs", po::value(&options.size.jobs)->default_value(options.size.jobs), "of each run");
  add("nodes", po::value(&options.size.nodes)->default_value(options.size.nodes), "of each run");
  add("sweeps", po::value(&options.size.sweeps),
      "of each run, as many as this; without it two runs of five have one or two");
  add("stop-after", po::value(&violations_max)->default_value(violations_max),
      "end after so many runs that broke a rule; 0: never");
  add("fault", po::value(&fault_name),
      "break this rule on purpose, to see that it is noticed; \"list\" prints their names");
  add("trace", po::bool_switch(&trace), "print everything that happens");
  add("hashes", po::bool_switch(&hashes),
      "print seed, hash of the trace and number of events of each run: equal lines before and after a change "
      "of shape show that nothing else changed");
  add("output,o", po::value(&output), "\"json\": print the summary as JSON; else the file to write it to");
  try {
    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, described), values);
    if (values.count("help") != 0) {
      std::cout << described;
      return 0;
    }
    po::notify(values);
  } catch (const po::error& e) {
    std::cerr << "rtrain-sim: " << e.what() << "\n" << described;
    return 2;
  }
  if (fault_name == "list") {
    for (std::size_t number = 0; number < fault::kSimulated; ++number)
      std::cout << fault::kNames[number] << "\n";
    return 0;
  }
  options.fault = fault::from_name(fault_name);
  if (!fault_name.empty() &&
      (!options.fault || static_cast<std::size_t>(*options.fault) >= fault::kSimulated)) {
    std::cerr << "rtrain-sim: there is no fault named " << fault_name
              << "; --fault list prints their names\n";
    return 2;
  }
  log::init("sim", log::Level::kOff);
  options.print = options.tracing = trace;

  const auto began = std::chrono::steady_clock::now();
  std::int64_t events = 0, jobs = 0, head_starts = 0, sweeps = 0, decisions = 0;
  int done = 0;
  std::vector<std::uint64_t> failed;
  for (; done < runs && (violations_max == 0 || static_cast<int>(failed.size()) < violations_max); ++done) {
    options.seed = seed + static_cast<std::uint64_t>(done);
    const auto result = sim::run(options);
    events += result.events;
    jobs += result.jobs;
    head_starts += result.head_starts;
    sweeps += result.sweeps;
    decisions += result.decisions_compared;
    if (hashes)
      std::printf("%llu %016llx %lld\n", static_cast<unsigned long long>(options.seed),
                  static_cast<unsigned long long>(result.trace_hash), static_cast<long long>(result.events));
    if (!result.violation) continue;
    failed.push_back(options.seed);
    print_violation(options, *result.violation);
  }
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const proto::Json summary{{"runs", done},
                            {"violations", failed.size()},
                            {"jobs_per_run", done > 0 ? static_cast<double>(jobs) / done : 0.0},
                            {"nodes", options.size.nodes},
                            {"events", events},
                            {"head_starts", head_starts},
                            {"sweeps", sweeps},
                            {"decisions_compared", decisions},
                            {"seconds", took},
                            {"runs_per_s", took > 0 ? done / took : 0.0},
                            {"seeds_failed", failed},
                            {"fault", fault_name}};
  if (output.empty()) {
    std::printf(
        "%d runs from seed %llu, %.1f jobs each on %d nodes: %zu broke a rule; %.1f s, %.0f runs a second; "
        "%lld sweeps, of which %lld decisions are those of runs without faults\n",
        done, static_cast<unsigned long long>(seed), summary["jobs_per_run"].get<double>(),
        options.size.nodes, failed.size(), took, summary["runs_per_s"].get<double>(),
        static_cast<long long>(sweeps), static_cast<long long>(decisions));
  } else if (output == "json") {
    std::printf("%s\n", summary.dump().c_str());
  } else if (!(std::ofstream(output) << summary.dump() << "\n")) {
    std::cerr << "rtrain-sim: cannot write " << output << "\n";
    return 2;
  }
  return failed.empty() ? 0 : 1;
}
