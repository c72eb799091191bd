// Which jobs that ended are forgotten: those that the settings or a user name, but for those that others
// still need.
#include "common/log/log.h"
#include "daemon/head/dispatcher.h"

namespace rtrain::head {
namespace {

using namespace std::chrono_literals;

constexpr auto kRetentionStep = 1h;
constexpr double kDayMs = 24.0 * 3600 * 1000;

}  // namespace

std::set<JobId> Dispatcher::needed_by_others() const {
  std::set<JobId> needed;
  const auto whole = [&](const proto::ArrayTask& array) {
    for (int i = 0; i < array.count; ++i) needed.emplace(array.id.value() + i);
  };
  for (const auto& [id, record] : book_.all()) {
    const auto& state = record.state;
    if (core::is_terminal(state.phase)) continue;
    // its jobs are found by their places in it
    if (state.array && !needed.contains(state.array->id)) whole(*state.array);
    if (state.attempt.value() > 0) continue;
    for (const auto& dependency : state.spec->scheduling.depends_on) {
      const auto* target = needed.contains(dependency.job) ? nullptr : book_.find(dependency.job);
      if (target != nullptr && target->state.array && target->state.array->id == dependency.job)
        whole(*target->state.array);
      needed.insert(dependency.job);
    }
  }
  return needed;
}

void Dispatcher::prune(store::PruneRequest request, std::function<void(const store::Pruned&)> told) {
  request.spared = needed_by_others();
  store_.journal.prune(std::move(request), [this, told = std::move(told)](const store::Pruned& pruned) {
    book_.forget(pruned);
    for (const auto id : pruned.gone) rows_.forget(id);
    ++epoch_;
    for (const auto id : pruned.gone) changed_(id);  // who follows one is told that it is gone
    told(pruned);
  });
}

void Dispatcher::retain() {
  if (config_.retention_days <= 0 && config_.retention_jobs <= 0) return;
  const auto now = clock_.steady();
  if (now < retain_at_) return;
  retain_at_ = now + kRetentionStep;
  store::PruneRequest request;
  if (config_.retention_days > 0 && clock_doubt().empty())
    request.ended_before_ms = clock_.wall() - static_cast<proto::UnixMs>(config_.retention_days * kDayMs);
  if (config_.retention_jobs > 0) request.keep_jobs = config_.retention_jobs;
  if (!request.ended_before_ms && !request.keep_jobs) return;
  prune(std::move(request), [](const store::Pruned& pruned) {
    if (!pruned.problem.empty())
      log::warn("retention stopped before its end, and is tried again in an hour",
                {{"cause", pruned.problem}});
    if (pruned.over && pruned.jobs > 0)
      log::info("retention: jobs that ended are forgotten",
                {{"jobs", std::to_string(pruned.jobs)}, {"bytes", std::to_string(pruned.bytes)}});
  });
}

}  // namespace rtrain::head
