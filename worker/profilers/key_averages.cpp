#include "worker/profilers/key_averages.h"

#include "worker/profilers/table.h"

#include <algorithm>
#include <map>
#include <unordered_map>

namespace rtrain::profilers {
namespace {

double microseconds(std::uint64_t ns) { return static_cast<double>(ns) / 1000; }

std::string shown(double us) {
  if (us >= 1e6) return digits5(us / 1e6) + "s";
  if (us >= 1e3) return digits5(us / 1e3) + "ms";
  return digits5(us) + "us";
}

std::string share(double part, double whole) { return whole > 0 ? digits5(100 * part / whole) + "%" : "-"; }

}  // namespace

std::vector<KeyAverage> key_averages(std::vector<TraceEvent> events) {
  // A parent before its children: it starts earlier, or at the same time and ends later.
  std::stable_sort(events.begin(), events.end(), [](const TraceEvent& a, const TraceEvent& b) {
    if (a.on_gpu != b.on_gpu) return b.on_gpu;
    if (a.thread != b.thread) return a.thread < b.thread;
    if (a.start_ns != b.start_ns) return a.start_ns < b.start_ns;
    return a.end_ns > b.end_ns;
  });
  constexpr std::size_t kNone = SIZE_MAX;
  std::vector<std::size_t> parent(events.size(), kNone);
  std::vector<double> self(events.size()), gpu(events.size()), self_gpu(events.size());
  std::unordered_map<std::uint64_t, std::size_t> by_correlation;
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const auto& event = events[i];
    const double us = microseconds(event.end_ns - event.start_ns);
    if (event.on_gpu) {
      self_gpu[i] = gpu[i] = us;
      const auto by = by_correlation.find(event.started_by);
      if (event.started_by == 0 || by == by_correlation.end()) continue;
      self_gpu[by->second] += us;
      for (auto at = by->second; at != kNone; at = parent[at]) gpu[at] += us;
      continue;
    }
    while (!open.empty() &&
           (events[open.back()].thread != event.thread || events[open.back()].end_ns <= event.start_ns))
      open.pop_back();
    self[i] = us;
    if (!open.empty()) {
      parent[i] = open.back();
      self[open.back()] -= us;
    }
    open.push_back(i);
    if (event.correlation != 0) by_correlation[event.correlation] = i;
  }

  std::map<std::string, KeyAverage> by_name;
  for (std::size_t i = 0; i < events.size(); ++i) {
    auto& sum = by_name[events[i].name];
    sum.name = events[i].name;
    ++sum.count;
    if (!events[i].on_gpu) sum.cpu_us += microseconds(events[i].end_ns - events[i].start_ns);
    sum.self_cpu_us += self[i];
    sum.cuda_us += gpu[i];
    sum.self_cuda_us += self_gpu[i];
    sum.flops += events[i].flops;
  }
  std::vector<KeyAverage> all;
  for (auto& [name, sum] : by_name) all.push_back(std::move(sum));
  return all;
}

void sort_by(std::vector<KeyAverage>& averages, const std::string& key) {
  const auto value = [&](const KeyAverage& a) {
    return key == "cpu_time_total"         ? a.cpu_us
           : key == "self_cpu_time_total"  ? a.self_cpu_us
           : key == "cuda_time_total"      ? a.cuda_us
           : key == "self_cuda_time_total" ? a.self_cuda_us
                                           : static_cast<double>(a.count);
  };
  std::stable_sort(averages.begin(), averages.end(),
                   [&](const auto& a, const auto& b) { return value(a) > value(b); });
}

std::string table_of(const std::vector<KeyAverage>& averages, std::int64_t rows, bool with_gpu,
                     bool with_flops) {
  double cpu = 0, gpu = 0;
  for (const auto& a : averages) {
    cpu += a.self_cpu_us;
    if (a.cpu_us == 0) gpu += a.self_cuda_us;  // the kernels themselves
  }
  std::vector<std::vector<std::string>> lines{
      {"Name", "Self CPU %", "Self CPU", "CPU total", "CPU time avg"}};
  if (with_gpu) lines[0].insert(lines[0].end(), {"Self CUDA %", "Self CUDA", "CUDA total"});
  lines[0].emplace_back("# of Calls");
  if (with_flops) lines[0].emplace_back("Total MFLOPs");
  for (const auto& a : averages) {
    if (rows >= 0 && static_cast<std::int64_t>(lines.size()) > rows) break;
    lines.push_back({a.name, share(a.self_cpu_us, cpu), shown(a.self_cpu_us), shown(a.cpu_us),
                     shown(a.cpu_us / static_cast<double>(a.count))});
    auto& line = lines.back();
    if (with_gpu)
      line.insert(line.end(), {share(a.self_cuda_us, gpu), shown(a.self_cuda_us), shown(a.cuda_us)});
    line.push_back(std::to_string(a.count));
    if (with_flops) line.push_back(a.flops > 0 ? digits5(a.flops / 1e6) : "-");
  }
  return table(lines) + "Self CPU time total: " + shown(cpu) + "\n" +
         (with_gpu ? "Self CUDA time total: " + shown(gpu) + "\n" : "");
}

}  // namespace rtrain::profilers
