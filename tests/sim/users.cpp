#include "tests/sim/users.h"

namespace rtrain::sim {
namespace {

constexpr double kAnswerLimitS = 5, kLookEveryS = 1, kCleanUpEveryS = 60, kWantEveryS = 4;

}  // namespace

Users::Users(Cluster& cluster) : cluster_(cluster), world_(cluster.world()) {
  for (const auto& plan : cluster.workload().jobs) {
    ++open_;
    world_.at(seconds(plan.submit_s), [this, &plan] { submit(plan); });
  }
  world_.after(seconds(kLookEveryS), [this] { look(); });
  world_.after(seconds(kCleanUpEveryS), [this] { clean_up(); });
  if (world_.random().chance(0.5)) want_a_place();
}

template <class Answer>
void Users::ask(std::function<void(std::function<void(Answer)>)> call, std::function<void(Answer)> answered, std::function<void()> lost) {
  const auto settled = std::make_shared<bool>(false);
  world_.after(seconds(kAnswerLimitS), [settled, lost] {
    if (!std::exchange(*settled, true)) lost();
  });
  auto& random = world_.random();
  if (random.chance(0.01)) return;  // the question is lost
  const bool deaf = random.chance(0.02);  // the answer is
  world_.after(seconds(random.between(0.0005, 0.02)), [this, settled, deaf, call = std::move(call), answered = std::move(answered)] {
    if (!cluster_.head().up()) return;
    call([this, settled, deaf, answered](Answer answer) {
      if (deaf) return;
      world_.after(seconds(world_.random().between(0.0005, 0.02)), [settled, answered, answer = std::move(answer)] {
        if (!std::exchange(*settled, true)) answered(answer);
      });
    });
  });
}

void Users::submit(const JobPlan& plan) {
  const auto again = [this, &plan] { world_.after(seconds(world_.random().between(0.2, 2.0)), [this, &plan] { submit(plan); }); };
  ask<Result<JobId>>(
      [this, &plan](const auto& answer) {
        cluster_.head().submit(plan.spec, [this, &plan, answer](Result<JobId> id) {
          if (id) cluster_.referee().acknowledged(*id, plan.spec.name);
          answer(std::move(id));
        });
      },
      [this, &plan, again](const Result<JobId>& id) {
        if (!id) return again();
        world_.note("acknowledged", *id, plan.spec.name);
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

void Users::cancel(JobId id, const std::string& name) {
  cluster_.referee().cancel_sent(name);
  const auto again = [this, id, name] { world_.after(seconds(world_.random().between(0.2, 2.0)), [this, id, name] { cancel(id, name); }); };
  ask<Result<Done>>([this, id](const auto& answer) { cluster_.head().cancel(id, answer); },
                    [this, id, again](const Result<Done>& done) {
                      if (!done && done.error().code() != Errc::kConflict) {
                        cluster_.referee().check(done.error().code() != Errc::kNotFound, "no acknowledged job is lost",
                                                 [&] { return "a cancel of job " + to_string(id) + ": " + done.error().message(); });
                        return again();
                      }
                      if (done) cluster_.referee().cancel_acknowledged(id);
                      world_.note("cancelled", id);
                      --open_;
                    },
                    again);
}

void Users::hold(JobId id, double held_s) {
  const auto then_release = [this, id, held_s] { world_.after(seconds(held_s), [this, id] { release(id); }); };
  ask<Result<Done>>([this, id](const auto& answer) { cluster_.head().hold(id, answer); },
                    [this, id, then_release](const Result<Done>& done) {
                      if (done) cluster_.referee().hold_acknowledged(id);
                      then_release();  // also where it was held already, or has ended
                    },
                    then_release);
}

void Users::release(JobId id) {
  const auto again = [this, id] { world_.after(seconds(world_.random().between(0.2, 2.0)), [this, id] { release(id); }); };
  ask<Result<Done>>([this, id](const auto& answer) { cluster_.head().release(id, answer); },
                    [this, again](const Result<Done>& done) {
                      if (!done && done.error().code() != Errc::kConflict) return again();
                      --open_;
                    },
                    again);
}

void Users::want_a_place() {
  auto& random = world_.random();
  world_.after(seconds(random.between(0.5, 2 * kWantEveryS)), [this] { want_a_place(); });
  const auto* head = cluster_.head().dispatcher();
  if (head == nullptr || head->jobs().active().empty() || cluster_.healed()) return;
  const auto& active = head->jobs().active();
  cluster_.head().yield(*std::next(active.begin(), random.between(0, static_cast<int>(active.size()) - 1)), random.between(0.1, 5.0));
}

void Users::look() {
  world_.after(seconds(kLookEveryS), [this] { look(); });
  const auto& known = cluster_.referee().acknowledged_jobs();
  if (known.empty()) return;
  const auto id = std::next(known.begin(), world_.random().between(0, static_cast<int>(known.size()) - 1))->first;
  ask<Result<core::JobPhase>>(
      [this, id](const auto& answer) {
        cluster_.head().show(id, [this, id, answer](Result<core::JobPhase> phase) {
          cluster_.referee().check(phase.has_value(), "no acknowledged job is lost", [&] { return "job " + to_string(id) + " is not there when a user looks"; });
          if (phase) cluster_.referee().shown(id, *phase);
        });
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
    const bool runs_for_ever = state.phase == core::JobPhase::kRunning && world_.wall_ms() - state.placed_ms > 60'000;
    // The answer to its submit was lost, and whoever held it knows only of its second copy.
    const bool held_for_ever = state.phase == core::JobPhase::kQueued && state.held && world_.wall_ms() - state.submitted_ms > 120'000;
    if (runs_for_ever || held_for_ever) forgotten.push_back(id);
  }
  for (const auto id : forgotten) {
    ++open_;
    cancel(id, cluster_.disk().jobs().at(id).name);
  }
}

}  // namespace rtrain::sim
