#include "daemon/core/sweep/plan.h"

#include <algorithm>
#include <cmath>
#include <queue>
#include <set>

namespace rtrain::core {
namespace {

using proto::Json;
using proto::SweepEvent;

/// A report of a trial, or the end of its job, at a moment of virtual time.
struct Moment {
  double at_s = 0;
  std::int64_t order = 0;  ///< of those at the same time the one that was planned first
  std::int64_t trial = 0;
  double resource = 0;
  friend bool operator>(const Moment& a, const Moment& b) {
    return std::tie(a.at_s, a.order) > std::tie(b.at_s, b.order);
  }
};

/// The cluster and the clock around a fold.
class VirtualRun {
 public:
  VirtualRun(const proto::SweepSpec& spec, const PlanAssumptions& assumptions, double whole)
      : assumptions_(assumptions), whole_(whole), state_(submitted_sweep(1, {spec, ""})) {
    // A trial reports each unit of its resource, but not oftener than a plan can follow.
    constexpr double kReportsMax = 1000;
    step_ = std::max({whole / kReportsMax, std::min(1.0, whole), 1e-12});
    if (spec.schedule.kind == proto::ScheduleKind::kAsha ||
        spec.schedule.kind == proto::ScheduleKind::kHyperband)
      step_ = std::min(step_, spec.schedule.min);
  }

  SweepPlan run() {
    start_what_may();
    while (!moments_.empty() && !is_terminal(state_.phase)) {
      const auto moment = moments_.top();
      moments_.pop();
      pass_time(moment.at_s);
      take(moment);
      if (auto stopping = limit_hit(state_, {now_s_ / 3600, gpu_s_ / 3600})) put(std::move(*stopping));
      follow();
      start_what_may();
    }
    return result();
  }

 private:
  void put(SweepEvent event) {
    fold(state_, event).value();  // the fold's own events are legal
    if (const auto* rung = std::get_if<proto::RungReached>(&event)) count_rung(rung->rung);
    if (std::holds_alternative<proto::TrialPromoted>(event)) ++plan_.promotions;
    if (std::holds_alternative<proto::TrialCloned>(event)) ++plan_.clones;
    for (const auto& action : actions(state_, event)) carry_out(action);
  }
  void follow() {
    // A trial writes a checkpoint with each of its reports.
    const auto newest = [this](std::int64_t, std::int64_t donor) {
      const double resource = reached_[static_cast<std::size_t>(donor)];
      return std::optional(
          proto::CheckpointRecord{"the newest", 0, {{proto::resource_name(*state_.spec), resource}}});
    };
    while (auto event = follow_up(state_, newest)) put(std::move(*event));
  }
  void start_what_may() {
    while (running_ < assumptions_.places) {
      auto event = next(state_, 0);
      if (!event) break;
      put(std::move(*event));
    }
    follow();
  }

  void carry_out(const SweepAction& action) {
    if (const auto* submit = std::get_if<SubmitTrial>(&action)) {
      put(proto::TrialSubmitted{submit->trial, JobId(submit->trial + 1)});
      reached_.push_back(0);
      begin(submit->trial);
    } else if (const auto* release = std::get_if<ReleaseTrial>(&action)) {
      begin(release->trial);
    } else if (std::holds_alternative<PauseTrial>(action)) {
      --running_;
    } else if (const auto* clone = std::get_if<CloneTrial>(&action)) {
      put(proto::TrialSubmitted{clone->trial, clone->replaced});
      reached_[static_cast<std::size_t>(clone->trial)] = state_.trial(clone->trial).resource;
      cloned_.insert(clone->trial);
    }
  }

  void begin(std::int64_t trial) {
    ++running_;
    plan_.running_most = std::max(plan_.running_most, running_);
    after(trial, assumptions_.start_s);
  }
  /// The next report of the trial, `delay_s` and a step from now.
  void after(std::int64_t trial, double delay_s) {
    const double from = reached_[static_cast<std::size_t>(trial)];
    const double to = std::min(whole_, from + step_);
    moments_.push({now_s_ + delay_s + (to - from) * assumptions_.resource_s, order_++, trial, to});
  }

  void take(const Moment& moment) {
    const auto trial = moment.trial;
    plan_.resource += moment.resource - reached_[static_cast<std::size_t>(trial)];
    reached_[static_cast<std::size_t>(trial)] = moment.resource;
    const double loss = loss_of(trial, moment.resource);
    Json metrics{{state_.spec->metric, state_.spec->maximize ? -loss : loss}};
    metrics[proto::resource_name(*state_.spec)] = moment.resource;
    const TrialReport report{trial, metrics, 1, true};
    while (auto event = cloned_.contains(trial) ? std::nullopt : reached(state_, report)) {
      put(std::move(*event));
      follow();
    }
    const auto& now = state_.trial(trial);
    if (now.phase == TrialPhase::kPaused || has_ended(now.phase)) return;
    if (cloned_.erase(trial) > 0) return after(trial, assumptions_.start_s);
    const bool through = moment.resource >= whole_;
    if (now.phase == TrialPhase::kRunning && !through) return after(trial, 0);
    const bool completed = now.phase == TrialPhase::kRunning || now.finished;
    --running_;
    put(trial_ended(state_, report,
                    completed ? proto::TrialOutcome::kCompleted : proto::TrialOutcome::kPruned, ""));
  }

  /// Every run of as many trials as there are curves has each of them once.
  double loss_of(std::int64_t trial, double resource) {
    const auto count = assumptions_.curves.size();
    if (count == 0) return assumed_loss(state_.spec->seed, trial, resource, whole_);
    const auto at = static_cast<std::size_t>(trial) % count;
    if (order_of_curves_.empty()) {
      for (std::size_t i = 0; i < count; ++i) order_of_curves_.push_back(i);
      for (std::size_t i = count - 1; i > 0; --i)
        std::swap(
            order_of_curves_[i],
            order_of_curves_[Draws(state_.spec->seed, static_cast<std::int64_t>(i), 2, Purpose::kAssumed)
                                 .below(i + 1)]);
    }
    return assumptions_.curves[order_of_curves_[at]].at(resource);
  }

  void pass_time(double to_s) {
    gpu_s_ += (to_s - now_s_) * static_cast<double>(running_) * assumptions_.gpus;
    now_s_ = to_s;
  }
  void count_rung(int rung) {
    if (plan_.at_rung.size() <= static_cast<std::size_t>(rung))
      plan_.at_rung.resize(static_cast<std::size_t>(rung) + 1);
    ++plan_.at_rung[static_cast<std::size_t>(rung)];
  }

  SweepPlan result() {
    plan_.trials = static_cast<std::int64_t>(state_.trials.size());
    for (const auto& trial : state_.trials) {
      plan_.completed += trial.phase == TrialPhase::kCompleted ? 1 : 0;
      plan_.pruned += trial.phase == TrialPhase::kPruned ? 1 : 0;
    }
    plan_.hours = now_s_ / 3600;
    plan_.gpu_hours = gpu_s_ / 3600;
    plan_.resource_whole = whole_ * static_cast<double>(plan_.trials);
    plan_.phase = state_.phase;
    plan_.reason = state_.reason;
    return std::move(plan_);
  }

  PlanAssumptions assumptions_;
  double whole_, step_ = 1;
  SweepState state_;
  SweepPlan plan_;
  double now_s_ = 0, gpu_s_ = 0;
  std::int64_t running_ = 0, order_ = 0;
  std::vector<double> reached_;    ///< resource, by trial
  std::set<std::int64_t> cloned_;  ///< go on from another one's checkpoint, and have not started
  std::vector<std::size_t> order_of_curves_;
  std::priority_queue<Moment, std::vector<Moment>, std::greater<>> moments_;
};

}  // namespace

double assumed_loss(std::uint64_t seed, std::int64_t trial, double resource, double whole) {
  const double quality = Draws(seed, trial, 0, Purpose::kAssumed).uniform();
  Draws noise(seed, trial, 1, Purpose::kAssumed, static_cast<std::uint32_t>(1000 * resource / whole));
  return quality + (1 - quality) / std::sqrt(1 + 9 * resource / whole) + 0.02 * noise.normal();
}

Result<SweepPlan> plan_sweep(const proto::SweepSpec& spec, const PlanAssumptions& assumptions) {
  const auto bad = [](const char* what) { return fail(Errc::kInvalidArgument, what); };
  if (assumptions.places < 1) return bad("a plan needs at least one place");
  if (!(assumptions.resource_s > 0)) return bad("the seconds for one unit of the resource must be above 0");
  if (!(assumptions.start_s >= 0) || !(assumptions.gpus >= 0)) return bad("an assumption is below 0");
  if (std::ranges::any_of(assumptions.curves, &LearningCurve::empty))
    return bad("a learning curve has no point");
  const double whole = assumptions.trial_resource > 0 ? assumptions.trial_resource : spec.schedule.max;
  if (!(whole > 0)) return bad("nothing says how long a trial is: the schedule has no last rung");
  if (spec.search.method == proto::SearchMethod::kExternal)
    return bad("the trials of an external search come from outside; there is nothing to plan");
  return VirtualRun(spec, assumptions, whole).run();
}

}  // namespace rtrain::core
