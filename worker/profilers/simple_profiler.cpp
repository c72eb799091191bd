#include <rtrain/profilers/simple_profiler.h>

#include "worker/profilers/table.h"

#include <algorithm>
#include <cctype>

namespace rtrain {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

SimpleProfiler::SimpleProfiler(SimpleProfilerOptions options)
    : Profiler({std::move(options.dirpath), std::move(options.filename)}), extended_(options.extended) {}

void SimpleProfiler::start(const std::string& action) { running_.emplace_back(action, Clock::now()); }

void SimpleProfiler::stop(const std::string& action) {
  const auto now = Clock::now();
  const auto of_action = [&](const auto& started) { return started.first == action; };
  const auto started = std::find_if(running_.rbegin(), running_.rend(), of_action);
  if (started == running_.rend()) return;
  auto& durations = durations_[action];
  ++durations.calls;
  durations.total += now - started->second;
  running_.erase(std::next(started).base());
}

std::string SimpleProfiler::summary() const {
  auto text = stage_name();
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
  text += " Profiler Report\n\n";
  if (durations_.empty()) return text;

  std::vector<std::pair<std::string, Durations>> actions(durations_.begin(), durations_.end());
  std::stable_sort(actions.begin(), actions.end(),
                   [](const auto& a, const auto& b) { return a.second.total > b.second.total; });
  const double whole = seconds(Clock::now() - made_);
  std::int64_t calls = 0;
  for (const auto& [action, of] : actions) calls += of.calls;

  std::vector<std::vector<std::string>> rows{
      {"Action", "Mean duration (s)", "Num calls", "Total time (s)", "Percentage %"},
      {"Total", "-", std::to_string(calls), profilers::digits5(whole), "100 %"}};
  for (const auto& [action, of] : actions) {
    const double total = seconds(of.total);
    rows.push_back({action, profilers::digits5(total / static_cast<double>(of.calls)),
                    std::to_string(of.calls), profilers::digits5(total),
                    profilers::digits5(100 * total / whole)});
  }
  if (!extended_) {
    rows.erase(rows.begin() + 1);
    for (auto& row : rows) row = {row[0], row[1], row[3]};
  }
  return text + profilers::table(rows);
}

RTRAIN_REGISTER_OPTIONS(Profiler, "simple", SimpleProfiler, SimpleProfilerOptions, dirpath, filename,
                        extended);

}  // namespace rtrain
