#include "daemon/head/sweeps/sweeps.h"

#include "common/base/fault.h"
#include "common/log/log.h"
#include "daemon/core/queue_rules.h"
#include "daemon/core/sweep/warm_start.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

namespace rtrain::head {
namespace {

constexpr std::chrono::seconds kLimitsStep{1};

/// What the end of its job says of a trial that is not STOPPING.
proto::TrialOutcome outcome_of(const core::JobState& job) {
  using enum proto::TrialOutcome;
  if (job.phase == core::JobPhase::kSucceeded) return kCompleted;
  if (job.phase == core::JobPhase::kCancelled) return kCancelled;
  return job.error && job.error->kind == proto::kInvalidHyperparameters ? kInvalid : kFailed;
}

Error no_such(JobId id) {
  return fail(Errc::kNotFound, "sweep " + to_string(id) + ": no such sweep",
              "rtrain sweep list shows the sweeps");
}

}  // namespace

// ---- what users ask -----------------------------------------------------------------------------

Result<JobId> Sweeps::submit(proto::SweepSpec spec, const std::string& user, const std::string& submission) {
  const auto submitted = book_.submitted_with(submission);
  if (!submitted) return submitted.error();
  if (const auto* before = *submitted) {
    if (before->state.user == user && *before->state.spec == spec) return JobId(before->state.id);
    return fail(Errc::kConflict,
                "the Idempotency-Key was used before, for sweep " + std::to_string(before->state.id) +
                    ", which is another one",
                "use a new key for each sweep file that is submitted");
  }
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
  auto known = known_to(spec);
  if (!known) return known.error();
  const auto id = context_.book.take_number();
  log::info("sweep submitted", {{"sweep", to_string(id)}, {"name", spec.name}, {"user", user}});
  book_.submit(id, {std::move(spec), user, submission, std::move(*known)}, context_.wall());
  enter([this, id] {
    follow(id);
    refill(id);
  });
  return id;
}

Result<std::vector<proto::KnownTrial>> Sweeps::known_to(const proto::SweepSpec& spec) const {
  auto newest_first = spec.from;
  std::ranges::sort(newest_first, std::greater<>());
  std::vector<proto::KnownTrial> all;
  for (const auto number : newest_first) {
    if (all.size() >= proto::kKnownTrialsMax) break;  // each is read from the store, and agents wait
    const auto entry = book_.find(JobId(number));
    if (!entry) return entry.error().in("from");
    if (*entry == nullptr) return no_such(JobId(number)).in("from");
    auto known = core::known_trials((*entry)->state, spec);
    if (!known) return known;
    all.insert(all.begin(), std::make_move_iterator(known->begin()), std::make_move_iterator(known->end()));
  }
  if (all.size() > proto::kKnownTrialsMax)
    all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(proto::kKnownTrialsMax));
  return all;
}

Result<const core::SweepState*> Sweeps::going_on(JobId id) const {
  if (const auto* entry = book_.live(id)) return &entry->state;
  const auto ended = book_.find(id);
  if (!ended) return ended.error();
  if (*ended == nullptr) return no_such(id);
  return fail(Errc::kConflict, "sweep " + to_string(id) + " has already ended: " +
                                   std::string(core::to_string((*ended)->state.phase)));
}

Result<Done> Sweeps::ask(JobId id, const std::vector<proto::SweepEvent>& events) {
  const auto state = going_on(id);
  if (!state) return state.error();
  if (events.size() > 1) {  // all of them or none
    auto tried = **state;
    for (const auto& event : events)
      if (auto folded = core::fold(tried, event); !folded) return folded.error().in("sweep " + to_string(id));
  }
  Result<Done> done = ok();
  // Users ask outside of a turn, so that nobody is at work here.
  enter([&] {
    for (const auto& event : events) {
      done = book_.apply(id, event, context_.wall());
      if (!done) {
        done = done.error().in("sweep " + to_string(id));
        break;
      }
      if (const auto* entry = book_.live(id)) carry_out(id, entry->state, event);
    }
    follow(id);
    refill(id);
  });
  return done;
}

Result<Done> Sweeps::ask(JobId id, proto::SweepEvent event) {
  return ask(id, std::vector<proto::SweepEvent>{std::move(event)});
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

Result<std::int64_t> Sweeps::enqueue(JobId id, proto::Json params, std::int64_t expected,
                                     const std::string& by) {
  const auto state = going_on(id);
  if (!state) return state.error();
  // Those that are given come before those that are searched, so the number is known.
  const auto number = static_cast<std::int64_t>((*state)->trials.size() + (*state)->queue.size());
  if (expected >= 0 && expected != number)
    return fail(Errc::kConflict,
                "the next trial of sweep " + to_string(id) + " is " + std::to_string(number) + ", not " +
                    std::to_string(expected),
                "read its trials again: rtrain sweep trials " + to_string(id));
  if (auto done = ask(id, proto::TrialEnqueued{std::move(params), by}); !done) return done.error();
  log::info("trial enqueued", {{"sweep", to_string(id)}, {"trial", std::to_string(number)}, {"by", by}});
  return number;
}

Result<Done> Sweeps::extend(JobId id, std::int64_t trials, const std::string& by) {
  auto done = ask(id, proto::SweepExtended{trials, by});
  if (done)
    log::info("sweep extended", {{"sweep", to_string(id)}, {"trials", std::to_string(trials)}, {"by", by}});
  return done;
}

Result<std::vector<std::int64_t>> Sweeps::retry(JobId id, const std::vector<std::int64_t>& trials,
                                                const std::string& by) {
  const auto state = going_on(id);
  if (!state) return state.error();
  const auto most = proto::kTrialsMax - (*state)->trials_max;
  if (std::cmp_greater(trials.size(), most))
    return fail(Errc::kConflict, "sweep " + to_string(id) + " can have " + std::to_string(most) +
                                     " more trials, not " + std::to_string(trials.size()));
  std::vector<proto::SweepEvent> events;
  std::vector<std::int64_t> numbers;
  for (const auto number : trials) {
    const auto* known = trial(id, number);
    const auto name = "trial " + std::to_string(number) + " of sweep " + to_string(id);
    if (known == nullptr)
      return fail(Errc::kNotFound, name + ": no such trial", "rtrain sweep trials " + to_string(id));
    if (!core::has_ended(known->phase))
      return fail(Errc::kConflict,
                  name + " has not ended: it is " + std::string(core::to_string(known->phase)));
    numbers.push_back(
        static_cast<std::int64_t>((*state)->trials.size() + (*state)->queue.size() + numbers.size()));
    if (!(*state)->grid) events.emplace_back(proto::SweepExtended{1, by});
    events.emplace_back(proto::TrialEnqueued{(*state)->space->to_json(known->point), by, number});
  }
  if (auto done = ask(id, events); !done) return done.error();
  for (std::size_t i = 0; i < numbers.size(); ++i)
    log::info("trial retried", {{"sweep", to_string(id)},
                                {"trial", std::to_string(trials[i])},
                                {"as", std::to_string(numbers[i])},
                                {"by", by}});
  return numbers;
}

Result<Done> Sweeps::stop_trial(JobId id, std::int64_t number, const std::string& by) {
  if (const auto state = going_on(id); !state) return state.error();
  const auto* known = trial(id, number);
  if (known == nullptr)
    return fail(Errc::kNotFound,
                "trial " + std::to_string(number) + " of sweep " + to_string(id) + ": no such trial",
                "rtrain sweep trials " + to_string(id));
  if (known->phase == core::TrialPhase::kPaused)
    return fail(
        Errc::kConflict,
        "trial " + std::to_string(number) + " of sweep " + to_string(id) + " is PAUSED, and holds nothing",
        "rtrain cancel " + to_string(known->job) + " ends it");
  return ask(id, proto::TrialStopped{number, known->rung, false, "stopped by " + by});
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
  return {job.sweep->sweep, job.sweep->trial, job.id, job.metrics, job.reports, pinnable(job) != nullptr};
}

void Sweeps::on_report(JobId job) {
  const auto of = trial_of(job);
  if (!of) return;
  const auto from = trial(of->sweep, of->trial)->from;
  enter([this, from, report = report_of(context_.state(job))] {
    if (from && pinned_.contains(from->job)) update_pins(from->job);
    const auto* known = trial(report.sweep, report.trial);
    if (known != nullptr && known->phase == core::TrialPhase::kPaused)
      unheard_[{report.sweep, report.trial}].push_back(report);
    else if (judge(report))
      refill(report.sweep);  // a report that decides nothing makes no room
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
    if (known == nullptr || known->job != report.job) return came;
    auto reached = core::reached(book_.live(report.sweep)->state, told);
    if (!reached || !take(report.sweep, std::move(*reached))) return came;
    came = true;
    follow(report.sweep);
  }
}

void Sweeps::end_trial(JobId id, std::int64_t number, JobId job) {
  const auto* known = trial(id, number);
  if (known == nullptr || known->job != job || core::has_ended(known->phase)) return;
  unheard_.erase({id, number});
  const auto& state = context_.state(job);
  const auto report = report_of(state);
  auto outcome = outcome_of(state);
  if (known->phase == core::TrialPhase::kStopping)
    outcome = known->finished && !fault::on(fault::Fault::kFinishedIsPruned) ? proto::TrialOutcome::kCompleted
                                                                             : proto::TrialOutcome::kPruned;
  std::string error;
  if ((outcome == proto::TrialOutcome::kFailed || outcome == proto::TrialOutcome::kInvalid) && state.error)
    error = state.error->message;
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
  if (core::is_terminal(state.phase)) {
    log::info("sweep ended", {{"sweep", to_string(id)},
                              {"state", std::string(core::to_string(state.phase))},
                              {"reason", state.reason}});
    std::erase_if(unheard_, [&](const auto& of) { return of.first.first == id; });
  }
  if (const auto* ended = std::get_if<proto::TrialEnded>(&event))
    if (const auto& from = state.trial(ended->trial).from) update_pins(from->job);
  carry_out(id, state, event);
  return true;
}

void Sweeps::follow(JobId id) {
  while (const auto* entry = book_.live(id)) {
    auto event = core::follow_up(entry->state, [&](std::int64_t trial, std::int64_t donor) {
      return find_checkpoint(id, trial, donor);
    });
    if (!event || !take(id, std::move(*event))) return;
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

void Sweeps::look_at_limits(JobId id) {
  const auto* entry = book_.live(id);
  if (entry == nullptr) return;
  if (auto stopping = core::limit_hit(entry->state, usage(*entry)))
    if (take(id, std::move(*stopping))) follow(id);
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
  for (const auto id : limited) enter([this, id] { look_at_limits(id); });
}

std::set<JobId> Sweeps::needed_jobs() const {
  std::set<JobId> needed;
  for (const auto& [id, entry] : book_.all_live()) {
    for (const auto& trial : entry.state.trials) {
      if (trial.job.value() != 0) needed.insert(trial.job);
      // Whose checkpoint it has not replaced by one of its own yet.
      if (trial.from && !core::has_ended(trial.phase)) needed.insert(trial.from->job);
    }
    // Each trial that is still to come names them again.
    for (const auto& dependency : entry.state.spec->job.scheduling.depends_on) needed.insert(dependency.job);
  }
  return needed;
}

}  // namespace rtrain::head
