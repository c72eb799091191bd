#include "tests/sim/users.h"

#include "tests/sim/question.h"

namespace rtrain::sim {
namespace {

constexpr const char* kUser = "a user";
constexpr double kUsersLookEveryS = 1, kCleanUpEveryS = 60, kWantEveryS = 4;
constexpr int kHolds = 20;                // looks for a trial of a sweep to hold
constexpr int kTriesForReservation = 20;  // then the job does without

}  // namespace

Users::Users(Cluster& cluster) : cluster_(cluster), world_(cluster.world()) {
  for (const auto& plan : cluster.workload().jobs) {
    ++open_;
    world_.at(seconds(plan.submit_s), [this, &plan] { submit(plan); });
  }
  for (const auto& plan : cluster.workload().sweeps) {
    ++open_;
    world_.at(seconds(plan.submit_s), [this, &plan] { submit_sweep(plan); });
  }
  world_.after(seconds(kUsersLookEveryS), [this] { look(); });
  world_.after(seconds(kCleanUpEveryS), [this] { clean_up(); });
  if (world_.random().chance(0.5)) want_a_place();
}

void Users::later(std::function<void()> again) {
  world_.after(seconds(world_.random().between(0.2, 2.0)), std::move(again));
}

/// Nothing: a job that it depends on has no number yet.
std::optional<proto::JobSpec> Users::spec_of(const JobPlan& plan) const {
  auto spec = plan.spec;
  for (const auto& dependency : plan.depends_on) {
    const auto known = numbers_.find(cluster_.workload().jobs[dependency.on].spec.name);
    if (known == numbers_.end()) return std::nullopt;
    spec.scheduling.depends_on.push_back({dependency.kind, known->second});
  }
  if (refused_.contains(plan.spec.name) && refused_.at(plan.spec.name) >= kTriesForReservation)
    spec.scheduling.reservation.clear();
  return spec;
}

void Users::submit(const JobPlan& plan) {
  const auto again = [this, &plan] { later([this, &plan] { submit(plan); }); };
  const auto spec = spec_of(plan);
  if (!spec) return again();
  ask<JobId>(
      // With a key: what is sent again because its answer was lost is the same job, which the user can name,
      // and cancel.
      cluster_,
      [&plan, spec](head::Dispatcher& head) {
        return head.commands().submit(*spec, plan.user, plan.spec.name);
      },
      [this, &plan](const Result<JobId>& id) {
        if (!id) return;
        const auto jobs = plan.spec.scheduling.array
                              ? static_cast<std::int64_t>(plan.spec.scheduling.array->indices.size())
                              : 1;
        cluster_.referee().acknowledged(*id, jobs, plan.spec.name);
      },
      [this, &plan, again](const Result<JobId>& id) {
        // its reservation: there is none yet, or any more, or it is for others
        if (!id && id.error().code() == Errc::kInvalidArgument) ++refused_[plan.spec.name];
        if (!id) return again();
        world_.note("acknowledged", *id, plan.spec.name);
        numbers_[plan.spec.name] = *id;
        if (plan.hold_s >= 0) {
          ++open_;
          world_.after(seconds(plan.hold_s), [this, id = *id, &plan] { hold(id, plan.held_s); });
        }
        if (plan.cancel_s < 0) {
          --open_;
          return;
        }
        world_.after(seconds(plan.cancel_s), [this, id = *id, &plan] { cancel(id, plan.spec.name); });
      },
      again);
}

void Users::change(JobId id, const proto::JobEvent& event,
                   std::function<void(const Result<std::vector<JobId>>&)> told,
                   std::function<void(const Result<std::vector<JobId>>&)> answered,
                   std::function<void()> lost) {
  ask<std::vector<JobId>>(
      cluster_,
      [id, event](head::Dispatcher& head) -> Result<std::vector<JobId>> {
        const auto* record = head.jobs().find(id);
        if (record != nullptr && record->state.array && record->state.array->id == id)
          return head.commands().for_array(id, {}, event);
        const auto done =
            std::holds_alternative<proto::CancelRequested>(event) ? head.commands().cancel(id, kUser)
            : std::holds_alternative<proto::JobHeld>(event)       ? head.commands().hold(id, kUser)
                                                                  : head.commands().release(id, kUser);
        if (!done) return done.error();
        return std::vector{id};
      },
      std::move(told), std::move(answered), std::move(lost));
}

void Users::cancel(JobId id, const std::string& name) {
  cluster_.referee().cancel_sent(name);
  const auto again = [this, id, name] { later([this, id, name] { cancel(id, name); }); };
  change(
      id, proto::CancelRequested{kUser},
      [this](const Result<std::vector<JobId>>& changed) {
        if (!changed) return;
        for (const auto job : *changed) cluster_.referee().cancel_acknowledged(job);
      },
      [this, id, again](const Result<std::vector<JobId>>& changed) {
        if (!changed && changed.error().code() != Errc::kConflict) {
          cluster_.referee().check(
              changed.error().code() != Errc::kNotFound, "no acknowledged job is lost",
              [&] { return "a cancel of job " + to_string(id) + ": " + changed.error().message(); });
          return again();
        }
        world_.note("cancelled", id);
        --open_;
      },
      again);
}

void Users::hold(JobId id, double held_s) {
  const auto then_release = [this, id, held_s] {
    world_.after(seconds(held_s), [this, id] { release(id); });
  };
  change(
      id, proto::JobHeld{kUser},
      [this](const Result<std::vector<JobId>>& changed) {
        if (!changed) return;
        for (const auto job : *changed) cluster_.referee().hold_acknowledged(job);
      },
      // also where it was held already, or has ended
      [then_release](const Result<std::vector<JobId>>&) { then_release(); }, then_release);
}

void Users::release(JobId id) {
  const auto again = [this, id] { later([this, id] { release(id); }); };
  change(
      id, proto::JobReleased{kUser}, [](const Result<std::vector<JobId>>&) {},
      [this, again](const Result<std::vector<JobId>>& changed) {
        if (!changed && changed.error().code() != Errc::kConflict) return again();
        --open_;
      },
      again);
}

void Users::submit_sweep(const SweepPlan& plan) {
  const auto again = [this, &plan] { later([this, &plan] { submit_sweep(plan); }); };
  ask<JobId>(
      cluster_,
      [&plan](head::Dispatcher& head) { return head.sweeps().submit(plan.spec, plan.user, plan.spec.name); },
      [this, &plan](const Result<JobId>& id) {
        if (id) cluster_.referee().sweep_acknowledged(*id, plan.spec.name);
      },
      [this, &plan, again](const Result<JobId>& id) {
        if (!id) return again();
        world_.note("sweep acknowledged", *id, plan.spec.name);
        const auto sweep = *id;
        const auto done = [this] { --open_; };
        const auto resume = [this, sweep, done] {
          change_sweep(
              sweep, [](head::Sweeps& sweeps, JobId one) { return sweeps.resume(one, kUser); }, done);
        };
        if (plan.pause_s >= 0) {
          ++open_;
          world_.after(seconds(plan.pause_s), [this, sweep, resume, paused_s = plan.paused_s] {
            change_sweep(
                sweep, [](head::Sweeps& sweeps, JobId one) { return sweeps.pause(one, kUser); },
                [this, resume, paused_s] { world_.after(seconds(paused_s), resume); });
          });
        }
        if (plan.hold_s >= 0)
          world_.after(seconds(plan.hold_s), [this, sweep, &plan] { hold_paused(sweep, plan, kHolds); });
        if (plan.stop_s >= 0) {
          ++open_;
          const auto when = plan.stop_now ? head::Sweeps::StopWhen::kNow : head::Sweeps::StopWhen::kNextRung;
          world_.after(seconds(plan.stop_s), [this, sweep, when, done] {
            change_sweep(
                sweep, [when](head::Sweeps& sweeps, JobId one) { return sweeps.stop(one, when, kUser); },
                done);
          });
        }
        --open_;
      },
      again);
}

void Users::hold_paused(JobId sweep, const SweepPlan& plan, int times) {
  if (times == 0 || cluster_.healed()) return;
  world_.after(seconds(world_.random().between(0.2, 2.0)),
               [this, sweep, &plan, times] { hold_paused(sweep, plan, times - 1); });
  const auto* head = cluster_.head().dispatcher();
  const auto* entry = head == nullptr ? nullptr : head->sweeps().book().live(sweep);
  if (entry == nullptr) return;
  for (const auto& trial : entry->state.trials) {
    const auto* record = trial.phase == core::TrialPhase::kPaused ? head->jobs().find(trial.job) : nullptr;
    if (record == nullptr || record->state.held || core::is_terminal(record->state.phase)) continue;
    ++open_;
    return hold(trial.job, plan.held_s);
  }
}

void Users::change_sweep(JobId id, std::function<Result<Done>(head::Sweeps&, JobId)> change,
                         std::function<void()> then) {
  const auto again = [this, id, change, then] {
    later([this, id, change, then] { change_sweep(id, change, then); });
  };
  ask<Done>(
      cluster_, [id, change](head::Dispatcher& head) { return change(head.sweeps(), id); },
      [](const Result<Done>&) {},
      [this, id, then, again](const Result<Done>& done) {
        if (done || done.error().code() == Errc::kConflict) return then();
        cluster_.referee().check(
            done.error().code() != Errc::kNotFound, "no acknowledged sweep is lost",
            [&] { return "a change of sweep " + to_string(id) + ": " + done.error().message(); });
        again();
      },
      again);
}

void Users::want_a_place() {
  auto& random = world_.random();
  world_.after(seconds(random.between(0.5, 2 * kWantEveryS)), [this] { want_a_place(); });
  auto* head = cluster_.head().dispatcher();
  if (head == nullptr || head->jobs().active().empty() || cluster_.healed()) return;
  const auto& active = head->jobs().active();
  const auto id = *std::next(active.begin(), random.between(0, static_cast<int>(active.size()) - 1));
  world_.note("asked for its place", id);
  (void)head->commands().yield(id, proto::YieldCause::kDrain, "an operator wants its place",
                               random.between(0.1, 5.0));
}

void Users::look() {
  world_.after(seconds(kUsersLookEveryS), [this] { look(); });
  const auto& known = cluster_.referee().acknowledged_jobs();
  if (known.empty()) return;
  const auto id =
      std::next(known.begin(), world_.random().between(0, static_cast<int>(known.size()) - 1))->first;
  ask<core::JobPhase>(
      cluster_,
      [id](head::Dispatcher& head) -> Result<core::JobPhase> {
        const auto* record = head.jobs().find(id);
        if (record == nullptr) return fail(Errc::kNotFound, "job " + to_string(id));
        return record->state.phase;
      },
      [this, id](const Result<core::JobPhase>& phase) {
        cluster_.referee().check(phase.has_value(), "no acknowledged job is lost",
                                 [&] { return "job " + to_string(id) + " is not there when a user looks"; });
        if (phase) cluster_.referee().shown(id, *phase);
      },
      [](const Result<core::JobPhase>&) {}, [] {});
}

void Users::clean_up() {
  world_.after(seconds(kCleanUpEveryS), [this] { clean_up(); });
  const auto* head = cluster_.head().dispatcher();
  if (head == nullptr) return;
  std::vector<JobId> forgotten;
  for (const auto& [id, record] : head->jobs().all()) {
    const auto& state = record.state;
    const bool runs_for_ever =
        state.phase == core::JobPhase::kRunning && world_.wall_ms() - state.placed_ms > 60'000;
    // The answer to its submit was lost, and whoever held it knows only of its second copy.
    const bool held_for_ever = state.phase == core::JobPhase::kQueued && state.held &&
                               world_.wall_ms() - state.submitted_ms > 120'000;
    if (runs_for_ever || held_for_ever) forgotten.push_back(id);
  }
  for (const auto id : forgotten) {
    ++open_;
    cancel(id, cluster_.disk().jobs().at(id).name);
  }
}

}  // namespace rtrain::sim
