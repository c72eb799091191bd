#include "daemon/head/sweeps/sweeps.h"

#include "common/log/log.h"
#include "daemon/core/queue_rules.h"
#include "daemon/core/sweep/trial_job.h"
#include "daemon/head/sweeps/trial_spec.h"
#include "proto/sweep/sweep_reader.h"

#include <algorithm>
#include <utility>

namespace rtrain::head {
namespace {

constexpr std::chrono::seconds kLimitsStep{1};
/// Trials of a sweep that one call starts; the next tick goes on.
constexpr int kStartsMax = 32;

Error no_such(JobId id) {
  return fail(Errc::kNotFound, "sweep " + to_string(id) + ": no such sweep",
              "rtrain sweep list shows the sweeps");
}

bool searches_scheduling(const proto::SweepSpec& spec) {
  return std::ranges::any_of(spec.parameters, [](const proto::SweepParameter& parameter) {
    return parameter.path.starts_with("scheduling.");
  });
}

}  // namespace

// ---- what users ask -----------------------------------------------------------------------------

Result<JobId> Sweeps::submit(proto::SweepSpec spec, const std::string& user, const std::string& submission) {
  const auto known = book_.submitted_with(submission);
  if (!known) return known.error();
  if (const auto* before = *known) {
    if (before->state.user == user && *before->state.spec == spec) return JobId(before->state.id);
    return fail(Errc::kConflict,
                "the Idempotency-Key was used before, for sweep " + std::to_string(before->state.id) +
                    ", which is another one",
                "use a new key for each sweep file that is submitted");
  }
  if (spec.schedule.kind == proto::ScheduleKind::kPbt)
    return fail(
        Errc::kInvalidArgument,
        "schedule: this head does not run pbt: it cannot keep the checkpoint of one member for another",
        "use asha, hyperband or median; rtrain sweep plan works with pbt");
  if (spec.search.method == proto::SearchMethod::kExternal)
    return fail(Errc::kInvalidArgument,
                "search: this head takes no trials from outside, so external finds none",
                "use tpe, random, sobol, grid or cmaes");
  for (const auto& dependency : spec.job.scheduling.depends_on)
    if (context_.book.find(dependency.job) == nullptr)
      return fail(Errc::kNotFound,
                  "job " + to_string(dependency.job) + ", which job.scheduling.depends_on names: no such job",
                  "rtrain list shows the jobs");
  if (auto may = core::may_enter(context_.config.queues, spec.job.scheduling); !may)
    return may.error().in("job");
  if (auto may = commands_.may_name_reservation_of(spec.job, user); !may) return may.error().in("job");
  if (const auto health = context_.health(); !health.writable)
    return fail(Errc::kUnavailable, "the head takes no sweeps at the moment: " + health.why,
                "running jobs continue; submit again when there is room");
  const auto id = context_.book.take_number();
  log::info("sweep submitted", {{"sweep", to_string(id)}, {"name", spec.name}, {"user", user}});
  book_.submit(id, {std::move(spec), user, submission}, context_.wall());
  enter([this, id] {
    follow(id);
    refill(id);
  });
  return id;
}

Result<Done> Sweeps::ask(JobId id, proto::SweepEvent event) {
  if (book_.live(id) == nullptr) {
    auto ended = book_.find(id);
    if (!ended) return ended.error();
    if (*ended == nullptr) return no_such(id);
    return fail(Errc::kConflict, "sweep " + to_string(id) + " has already ended: " +
                                     std::string(core::to_string((*ended)->state.phase)));
  }
  Result<Done> done = ok();
  // Users ask outside of a turn, so that nobody is at work here.
  enter([&] {
    done = book_.apply(id, event, context_.wall());
    if (!done) {
      done = done.error().in("sweep " + to_string(id));
      return;
    }
    if (const auto* entry = book_.live(id)) carry_out(id, entry->state, event);
    follow(id);
    refill(id);
  });
  return done;
}

Result<Done> Sweeps::pause(JobId id, const std::string& by) {
  auto done = ask(id, proto::SweepHeld{by});
  if (done) log::info("sweep paused", {{"sweep", to_string(id)}, {"by", by}});
  return done;
}

Result<Done> Sweeps::resume(JobId id, const std::string& by) {
  auto done = ask(id, proto::SweepReleased{by});
  if (done) log::info("sweep resumed", {{"sweep", to_string(id)}, {"by", by}});
  return done;
}

Result<Done> Sweeps::stop(JobId id, StopWhen when, const std::string& by) {
  auto done = ask(
      id, proto::SweepStopping{"stopped by " + by, when == StopWhen::kNow, proto::SweepOutcome::kCancelled});
  if (done) log::info("sweep stops", {{"sweep", to_string(id)}, {"by", by}});
  return done;
}

// ---- what happens to jobs -----------------------------------------------------------------------

void Sweeps::enter(std::function<void()> work) {
  due_.push_back(std::move(work));
  if (working_) return;
  struct Working {
    explicit Working(Sweeps& of) : sweeps(of) { sweeps.working_ = true; }
    Working(const Working&) = delete;
    Working& operator=(const Working&) = delete;
    ~Working() {
      sweeps.working_ = false;
      sweeps.due_.clear();
    }
    Sweeps& sweeps;
  } const working(*this);
  while (!due_.empty()) {
    const auto next = std::move(due_.front());
    due_.pop_front();
    next();
  }
}

const core::TrialState* Sweeps::trial(JobId id, std::int64_t number) const {
  const auto* entry = book_.live(id);
  const bool there = entry != nullptr && number >= 0 && std::cmp_less(number, entry->state.trials.size());
  return there ? &entry->state.trial(number) : nullptr;
}

std::optional<proto::SweepTrial> Sweeps::trial_of(JobId job) const {
  const auto& of = context_.state(job).sweep;
  if (!of) return std::nullopt;
  const auto* known = trial(of->sweep, of->trial);
  return known != nullptr && known->job == job ? of : std::nullopt;
}

Sweeps::Report Sweeps::report_of(const core::JobState& job) const {
  return {job.sweep->sweep, job.sweep->trial, job.metrics, job.reports, !job.checkpoints.empty()};
}

void Sweeps::on_report(JobId job) {
  if (!trial_of(job)) return;
  enter([this, report = report_of(context_.state(job))] {
    if (judge(report)) refill(report.sweep);  // a report that decides nothing makes no room
  });
}

void Sweeps::on_started(JobId job) {
  if (const auto of = trial_of(job)) enter([this, id = of->sweep] { refill(id); });
}

void Sweeps::on_released(JobId job) {
  const auto& state = context_.state(job);
  if (!state.sweep || book_.live(state.sweep->sweep) == nullptr) return;
  std::size_t gpus = 0;
  for (const auto& rank : state.ranks) gpus += rank.placement.gpus.size();
  const auto held_ms = std::max<proto::UnixMs>(0, context_.wall() - state.placed_ms);
  book_.charge(state.sweep->sweep, static_cast<double>(gpus) * static_cast<double>(held_ms) / 1000);
  if (const auto of = trial_of(job); of && state.phase == core::JobPhase::kQueued)
    enter([this, of = *of] {
      settle(of.sweep, of.trial);
      follow(of.sweep);
    });
}

void Sweeps::on_ended(JobId job) {
  // The number of a job that was just submitted is told after its turn, and it may have ended by then.
  const auto of = context_.state(job).sweep;
  if (of) enter([this, of = *of, job] { end_trial(of.sweep, of.trial, job); });
}

bool Sweeps::judge(const Report& report) {
  const core::TrialReport told{report.trial, report.metrics, report.reports, report.checkpoint};
  for (bool came = false;;) {
    const auto* known = trial(report.sweep, report.trial);
    if (known == nullptr) return came;
    auto reached = core::reached(book_.live(report.sweep)->state, told);
    if (!reached || !take(report.sweep, std::move(*reached))) return came;
    came = true;
    follow(report.sweep);
  }
}

void Sweeps::end_trial(JobId id, std::int64_t number, JobId job) {
  const auto* known = trial(id, number);
  if (known == nullptr || known->job != job || core::has_ended(known->phase)) return;
  const auto& state = context_.state(job);
  const auto report = report_of(state);
  auto outcome = proto::TrialOutcome::kFailed;
  if (known->phase == core::TrialPhase::kStopping)
    outcome = known->finished ? proto::TrialOutcome::kCompleted : proto::TrialOutcome::kPruned;
  else if (state.phase == core::JobPhase::kSucceeded)
    outcome = proto::TrialOutcome::kCompleted;
  else if (state.phase == core::JobPhase::kCancelled)
    outcome = proto::TrialOutcome::kCancelled;
  std::string error;
  if (outcome == proto::TrialOutcome::kFailed && state.error) error = state.error->message;
  if (outcome == proto::TrialOutcome::kCancelled) error = "cancelled by " + state.cancelled_by;
  if (!take(id, core::trial_ended(book_.live(id)->state,
                                  {number, report.metrics, report.reports, report.checkpoint}, outcome,
                                  std::move(error))))
    return;
  follow(id);
  refill(id);
}

// ---- what follows -------------------------------------------------------------------------------

bool Sweeps::take(JobId id, proto::SweepEvent event) {
  const auto name = std::string(proto::event_name(event));
  if (auto done = book_.apply(id, event, context_.wall()); !done) {
    log::error("an event of a sweep that was due is refused",
               {{"sweep", to_string(id)}, {"event", name}, {"cause", done.error().message()}});
    return false;
  }
  auto entry = book_.find(id);
  if (!entry || *entry == nullptr) return true;
  const auto& state = (*entry)->state;
  if (core::is_terminal(state.phase))
    log::info("sweep ended", {{"sweep", to_string(id)},
                              {"state", std::string(core::to_string(state.phase))},
                              {"reason", state.reason}});
  carry_out(id, state, event);
  return true;
}

void Sweeps::carry_out(JobId id, const core::SweepState& state, const proto::SweepEvent& event) {
  for (const auto& action : core::actions(state, event))
    std::visit([&](const auto& one) { on(id, one); }, action);
  // Jobs that wait in the queue may not start under a sweep that is paused or stops.
  if (std::holds_alternative<proto::SweepHeld>(event) ||
      std::holds_alternative<proto::SweepReleased>(event) ||
      std::holds_alternative<proto::SweepStopping>(event))
    settle(id);
}

void Sweeps::settle(JobId id) {
  for (std::int64_t number = 0; trial(id, number) != nullptr; ++number) settle(id, number);
}

void Sweeps::settle(JobId id, std::int64_t number) {
  const auto* known = trial(id, number);
  const auto* record = known == nullptr ? nullptr : context_.book.find(known->job);
  if (record == nullptr || core::is_terminal(record->state.phase)) return;
  const auto& state = book_.live(id)->state;
  if (auto stopped = core::given_up(state, number, record->state)) {
    take(id, std::move(*stopped));
    return;
  }
  if (auto due = core::due_for_job(state, number, record->state)) {
    turn_.post(record->state.id, std::move(*due));
    turn_.request_pass();
  }
}

const core::JobState* Sweeps::living_job(JobId id, std::int64_t number) const {
  const auto entry = book_.find(id);
  if (!entry || *entry == nullptr) return nullptr;
  const auto* record = context_.book.find((*entry)->state.trial(number).job);
  return record == nullptr || core::is_terminal(record->state.phase) ? nullptr : &record->state;
}

void Sweeps::on(JobId id, const core::SubmitTrial& submit) {
  unsubmitted_.erase({id, submit.trial});
  const auto* entry = book_.live(id);
  if (entry == nullptr) return;
  auto spec = trial_spec(entry->state, submit.trial);
  auto job = spec ? commands_.submit(std::move(*spec), entry->state.user, {}, std::nullopt,
                                     proto::SweepTrial{id, submit.trial})
                  : Result<JobId>(spec.error());
  if (job) {
    take(id, proto::TrialSubmitted{submit.trial, *job});
    return;
  }
  // Queue, reservation and what they depend on are all trials' own, unless they are searched: the next would
  // be refused as well.
  const bool shared = spec.has_value() && !searches_scheduling(*entry->state.spec);
  if (shared && job.error().code() != Errc::kUnavailable) {
    unsubmitted_.insert({id, submit.trial});
    log::warn("a sweep is paused: its jobs are refused",
              {{"sweep", to_string(id)}, {"cause", job.error().message()}});
    take(id, proto::SweepHeld{"the head", "its jobs are refused: " + job.error().message() +
                                              "; mend it, then rtrain sweep resume " + to_string(id)});
    return;
  }
  if (job.error().code() == Errc::kUnavailable) {
    unsubmitted_.insert({id, submit.trial});
    return;
  }
  log::warn(
      "the job of a trial cannot be submitted",
      {{"sweep", to_string(id)}, {"trial", std::to_string(submit.trial)}, {"cause", job.error().message()}});
  const proto::Json nothing;
  take(id, core::trial_ended(entry->state, {submit.trial, nothing, 0, false}, proto::TrialOutcome::kFailed,
                             "its job cannot be submitted: " + job.error().message()));
}

void Sweeps::on(JobId id, const core::PauseTrial& pause) {
  if (const auto* job = living_job(id, pause.trial)) {
    turn_.post(job->id, core::trial_paused(*job, pause.reason));
    turn_.request_pass();
  }
}

void Sweeps::on(JobId id, const core::ReleaseTrial& release) {
  if (const auto* job = living_job(id, release.trial)) {
    turn_.post(job->id, proto::JobReleased{"sweep " + to_string(id), true});
    turn_.request_pass();
  }
}

void Sweeps::on(JobId id, const core::StopTrial& stop) {
  const auto* job = living_job(id, stop.trial);
  if (job == nullptr) return;
  // What pauses it may be posted and not applied yet: no attempt is asked twice.
  const auto entry = book_.find(id);
  const bool was_paused = (*entry)->state.trial(stop.trial).left_paused;
  turn_.post(job->id, was_paused ? proto::JobEvent(
                                       proto::CancelRequested{"sweep " + to_string(id) + ": " + stop.reason})
                                 : core::trial_stopped(*job, stop.reason, stop.checkpoint, stop.finished));
  turn_.request_pass();
}

/// submit() takes no schedule that clones.
void Sweeps::on(JobId id, const core::CloneTrial& clone) {
  log::error("a trial is not cloned: this head does not run pbt",
             {{"sweep", to_string(id)}, {"trial", std::to_string(clone.trial)}});
}

void Sweeps::follow(JobId id) {
  while (const auto* entry = book_.live(id)) {
    auto event = core::follow_up(entry->state);
    if (!event || !take(id, std::move(*event))) return;
  }
}

/// The newest first, since those are the likeliest to wait, and no further than the answer needs.
std::int64_t Sweeps::waiting(const core::SweepState& state) const {
  std::int64_t count = 0, active = 0;
  for (auto trial = state.trials.rbegin();
       trial != state.trials.rend() && active < state.active && count < core::kWaitingMax; ++trial) {
    if (!core::is_active(trial->phase)) continue;
    ++active;
    if (trial->phase == core::TrialPhase::kStopping) continue;
    const auto* record = context_.book.find(trial->job);
    if (record == nullptr || (record->state.phase == core::JobPhase::kQueued && !record->state.paused))
      ++count;
  }
  return count;
}

bool Sweeps::submit_waiting(JobId id) {
  while (book_.live(id) == nullptr || book_.live(id)->state.phase != core::SweepPhase::kPaused) {
    const auto first = unsubmitted_.lower_bound({id, 0});
    if (first == unsubmitted_.end() || first->first != id) return true;
    const auto number = first->second;
    const auto* known = trial(id, number);
    if (known == nullptr || known->phase != core::TrialPhase::kSuggested) {
      unsubmitted_.erase({id, number});
      continue;
    }
    if (const auto& state = book_.live(id)->state; state.phase == core::SweepPhase::kStopping) {
      unsubmitted_.erase({id, number});
      const proto::Json nothing;
      take(id,
           core::trial_ended(state, {number, nothing, 0, false}, proto::TrialOutcome::kPruned, state.reason));
    } else {
      on(id, core::SubmitTrial{number});
      if (unsubmitted_.contains({id, number})) return false;  // there is no room yet
    }
    follow(id);
  }
  return false;
}

void Sweeps::refill(JobId id) {
  if (!submit_waiting(id)) return;
  // A trial whose job is refused makes room for the next at once, and agents wait for this thread.
  for (int started = 0; const auto* entry = book_.live(id); ++started) {
    if (started == kStartsMax) {
      cut_short_.insert(id);
      return;
    }
    if (!core::has_room(entry->state)) return;
    auto event = core::next(entry->state, waiting(entry->state));
    if (!event || !take(id, std::move(*event))) return;
    follow(id);
  }
}

// ---- time ---------------------------------------------------------------------------------------

core::SweepUsage Sweeps::usage(const SweepEntry& entry) const {
  double gpu_s = entry.gpu_s;
  for (const auto& trial : entry.state.trials) {
    if (core::has_ended(trial.phase)) continue;
    const auto* record = context_.book.find(trial.job);
    if (record == nullptr || !core::has_attempt(record->state.phase)) continue;
    const auto held_s = static_cast<double>(context_.wall() - record->state.placed_ms) / 1000;
    for (const auto& rank : record->state.ranks)
      gpu_s += std::max(0.0, held_s) * static_cast<double>(rank.placement.gpus.size());
  }
  return {static_cast<double>(context_.wall() - entry.submitted_ms) / 3'600'000, gpu_s / 3600};
}

void Sweeps::tick() {
  auto waiting_for_room = std::exchange(cut_short_, {});
  for (const auto& [id, number] : unsubmitted_) waiting_for_room.insert(id);
  for (const auto id : waiting_for_room) enter([this, id] { refill(id); });
  if (context_.now() - limits_looked_ < kLimitsStep) return;
  limits_looked_ = context_.now();
  std::vector<JobId> limited;
  for (const auto& [id, entry] : book_.all_live())
    if (entry.state.spec->limits.hours || entry.state.spec->limits.gpu_hours) limited.push_back(id);
  for (const auto id : limited)
    if (auto stopping = core::limit_hit(book_.live(id)->state, usage(*book_.live(id))))
      enter([this, id, stopping = *stopping] {
        if (take(id, stopping)) follow(id);
      });
}

// ---- start --------------------------------------------------------------------------------------

void Sweeps::recover(std::vector<store::SweepRecord> sweeps, const std::vector<store::Document>& documents) {
  book_.recover(std::move(sweeps), documents);
  std::vector<JobId> ids;
  for (const auto& [id, entry] : book_.all_live()) ids.push_back(id);
  enter([this, ids] {
    cancel_unknown();
    for (const auto id : ids) {
      for (std::int64_t number = 0; trial(id, number) != nullptr; ++number) recover_trial(id, number);
      follow(id);
      refill(id);
    }
  });
}

/// Submission of a job and its place in the sweep are stored together; they part only when `rtraind recover`
/// could not read all of the sweep.
void Sweeps::cancel_unknown() {
  std::vector<JobId> unknown;
  for (const auto& [id, record] : context_.book.all()) {
    const auto& of = record.state.sweep;
    if (of && !core::is_terminal(record.state.phase) && book_.live(of->sweep) != nullptr && !trial_of(id))
      unknown.push_back(id);
  }
  for (const auto id : unknown) {
    const auto sweep = to_string(context_.state(id).sweep->sweep);
    log::warn("a job that its sweep does not know of is cancelled",
              {{"job", to_string(id)}, {"sweep", sweep}});
    turn_.post(id, proto::CancelRequested{"sweep " + sweep + ", which does not know of it any more"});
  }
}

void Sweeps::recover_trial(JobId id, std::int64_t number) {
  const auto* known = trial(id, number);
  if (core::has_ended(known->phase)) return;
  if (known->phase == core::TrialPhase::kSuggested) {
    unsubmitted_.insert({id, number});
    return;
  }
  const auto job = known->job;
  const auto* record = context_.book.find(job);
  if (record == nullptr) {
    const proto::Json nothing;
    take(id,
         core::trial_ended(book_.live(id)->state, {number, nothing, 0, false}, proto::TrialOutcome::kFailed,
                           "nothing is known of job " + to_string(job) + ", which trained it"));
    return follow(id);
  }
  const auto state = record->state;
  if (known->phase == core::TrialPhase::kRunning) judge_again(id, number, state);
  if (core::is_terminal(state.phase)) return end_trial(id, number, job);
  // They part when `rtraind recover` found the events of one and not those of the other.
  settle(id, number);
}

/// A report may be durable that no rung was reached by before the head died. Those since the last rung are
/// told again; what may start then is seen to once for the whole sweep.
void Sweeps::judge_again(JobId id, std::int64_t number, const core::JobState& job) {
  constexpr int kPage = 1000;
  const auto& state = book_.live(id)->state;
  if (!state.schedule.has_rungs()) return;
  Report report{id, number, {}, state.trial(number).reports, !job.checkpoints.empty()};
  for (bool more = true; more;) {
    auto page = context_.store.history.metrics(job.id, report.reports, kPage);
    if (!page) {
      log::error("the reports of a trial cannot be read, so that it is judged by its next one",
                 {{"job", to_string(job.id)}, {"cause", page.error().message()}});
      return;
    }
    for (auto& point : page->points) {
      report.metrics = std::move(point.metrics);
      ++report.reports;
      judge(report);
    }
    more = page->more && !page->points.empty();
  }
}

std::set<JobId> Sweeps::needed_jobs() const {
  std::set<JobId> needed;
  for (const auto& [id, entry] : book_.all_live()) {
    for (const auto& trial : entry.state.trials)
      if (trial.job.value() != 0) needed.insert(trial.job);
    // Each trial that is still to come names them again.
    for (const auto& dependency : entry.state.spec->job.scheduling.depends_on) needed.insert(dependency.job);
  }
  return needed;
}

}  // namespace rtrain::head
