#include "daemon/head/jobs/retention.h"

#include "common/log/log.h"

namespace rtrain::head {
namespace {

constexpr std::chrono::minutes kAfterStart{1}, kRetentionStep{60};
constexpr double kDayMs = 24.0 * 3600 * 1000;

}  // namespace

Retention::Retention(HeadContext& context, JobRows& rows, Others others)
    : context_(context), rows_(rows), others_(std::move(others)), due_at_(context.now() + kAfterStart) {}

std::set<JobId> Retention::needed_by_others() const {
  std::set<JobId> needed = others_.needed();
  const auto whole = [&](const proto::ArrayTask& array) {
    for (int i = 0; i < array.count; ++i) needed.emplace(array.id.value() + i);
  };
  for (const auto& [id, record] : context_.book.all()) {
    const auto& state = record.state;
    if (core::is_terminal(state.phase)) continue;
    // its jobs are found by their places in it
    if (state.array && !needed.contains(state.array->id)) whole(*state.array);
    if (state.attempt.value() > 0) continue;
    for (const auto& dependency : state.spec->scheduling.depends_on) {
      const auto* target = needed.contains(dependency.job) ? nullptr : context_.book.find(dependency.job);
      if (target != nullptr && target->state.array && target->state.array->id == dependency.job)
        whole(*target->state.array);
      needed.insert(dependency.job);
    }
  }
  return needed;
}

void Retention::prune(store::PruneRequest request, std::function<void(const store::Pruned&)> done) {
  request.spared = needed_by_others();
  context_.store.journal.prune(std::move(request),
                               [this, done = std::move(done)](const store::Pruned& pruned) {
                                 context_.book.forget(pruned);
                                 for (const auto id : pruned.gone) rows_.forget(id);
                                 ++context_.epoch;
                                 for (const auto id : pruned.gone)
                                   others_.changed(id);  // who follows one is told that it is gone
                                 others_.sweeps_gone(pruned.sweeps_gone);
                                 done(pruned);
                               });
}

void Retention::tick() {
  if (context_.config.retention_days <= 0 && context_.config.retention_jobs <= 0) return;
  const auto now = context_.now();
  if (now < due_at_) return;
  due_at_ = now + kRetentionStep;
  store::PruneRequest request;
  if (context_.config.retention_days > 0 && context_.clock_doubt().empty())
    request.ended_before_ms =
        context_.wall() - static_cast<proto::UnixMs>(context_.config.retention_days * kDayMs);
  if (context_.config.retention_jobs > 0) request.keep_jobs = context_.config.retention_jobs;
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
