#include "tests/sim/referee.h"

#include <algorithm>

namespace rtrain::sim {
namespace {

std::string name_of(JobId id, Attempt attempt) {
  return "job " + to_string(id) + " attempt " + to_string(attempt);
}

bool checkpoint_stored(const Disk::Job& job, const proto::RankKey& key, std::int64_t seq) {
  return std::ranges::any_of(job.events, [&](const proto::StampedEvent& event) {
    const auto* reported = std::get_if<proto::MetricsReported>(&event.event);
    return reported != nullptr && reported->attempt == key.attempt && reported->seq == seq &&
           reported->checkpoint;
  });
}

bool same(const proto::ExitStatus& a, const proto::ExitStatus& b) {
  return a.exit_code == b.exit_code && a.signal == b.signal && a.lost == b.lost;
}

}  // namespace

Referee::Referee(World& world, Disk& disk, const Workload& workload, std::vector<proto::NodeInfo> nodes,
                 proto::Queues queues)
    : world_(world),
      disk_(disk),
      workload_(workload),
      nodes_(std::move(nodes)),
      queues_(std::move(queues)),
      used_(nodes_.size()),
      rules_(world, *this, disk, workload, nodes_),
      sweeps_(*this, disk, workload) {
  disk_.watch.event = [this](JobId id, const proto::StampedEvent& event) { stored(id, event); };
  disk_.watch.point = [this](JobId id, const proto::MetricPoint& point) { stored(id, point); };
  disk_.watch.sweep_event = [this](JobId id, const proto::StampedSweepEvent& event) {
    sweeps_.stored(id, event);
  };
  disk_.watch.committed = [this] { sweeps_.committed(); };
  disk_.watch.cut = [this](JobId id) { points_cut(id); };
}

void Referee::check(bool rule, const char* invariant, const std::function<std::string()>& what) {
  if (rule || violation_) return;
  violation_ = Violation{invariant, what(), world_.now()};
  world_.note("VIOLATION", std::string_view(invariant), std::string_view(violation_->what));
}

const Life* Referee::life(const proto::RankKey& key) const {
  const auto found = lives_.find(key);
  return found == lives_.end() ? nullptr : &found->second;
}

// ---- processes ----------------------------------------------------------------------------------

void Referee::started(const proto::RankKey& key, std::size_t node, const proto::Resources& resources,
                      const std::vector<int>& gpus) {
  check(!lives_.contains(key), "a rank is started once",
        [&] { return "rank " + to_string(key) + " was started a second time"; });
  for (auto it = alive_.lower_bound({key.job, Attempt(0), 0}); it != alive_.end() && it->job == key.job; ++it)
    check(it->attempt == key.attempt, "two attempts of a job never run at once",
          [&] { return "rank " + to_string(key) + " starts while rank " + to_string(*it) + " runs"; });
  Life life;
  life.node = node;
  life.alive = true;
  life.resources = resources;
  life.gpus = gpus;
  for (const auto& [name, amount] : resources) {
    auto& used = used_[node][name];
    used += amount;
    const auto offered = nodes_[node].resources.find(name);
    const double total = offered == nodes_[node].resources.end() ? 0 : offered->second;
    check(used <= total + 1e-9, "no resource is over-committed", [&] {
      return "rank " + to_string(key) + " on " + nodes_[node].name + ": " + std::to_string(used) + " of " +
             std::to_string(total) + " " + name + " in use";
    });
  }
  for (const int gpu : gpus) {
    const auto [held, fresh] = gpus_.try_emplace({node, gpu}, key);
    check(fresh, "no resource is over-committed", [&, by = held->second] {
      return "GPU " + std::to_string(gpu) + " of " + nodes_[node].name + " is given to rank " +
             to_string(key) + " and is in use by rank " + to_string(by);
    });
  }
  lives_[key] = std::move(life);
  alive_.insert(key);
}

void Referee::ended(const proto::RankKey& key, const proto::ExitStatus& status, bool recorded) {
  auto& life = lives_.at(key);
  life.alive = false;
  life.status = status;
  life.recorded = recorded;
  for (const auto& [name, amount] : life.resources) used_[life.node][name] -= amount;
  for (const int gpu : life.gpus) gpus_.erase({life.node, gpu});
  alive_.erase(key);
}

void Referee::reported(const proto::RankKey& key, std::int64_t seq) { lives_.at(key).reports = seq; }

std::vector<proto::RankKey> Referee::alive_on(const std::string& node) const {
  std::vector<proto::RankKey> keys;
  for (const auto& key : alive_)
    if (nodes_[lives_.at(key).node].name == node) keys.push_back(key);
  return keys;
}

// ---- what is written ----------------------------------------------------------------------------

void Referee::stored(JobId id, const proto::StampedEvent& event) {
  if (const auto* submitted = std::get_if<proto::JobSubmitted>(&event.event)) {
    const auto known = acknowledged_.find(id);
    check(disk_.jobs().at(id).events.empty() &&
              (known == acknowledged_.end() || known->second == submitted->spec->name),
          "no job number is used twice",
          [&] { return "number " + to_string(id) + " is given to " + submitted->spec->name; });
    if (submitted->sweep) sweeps_.job_stored(id, *submitted->sweep);
    if (const auto& of = submitted->validates) {
      const auto by = validated_by_.try_emplace({of->job, of->index}, id).first->second;
      check(by == id, "a checkpoint is validated by one job", [&] {
        return "checkpoint " + std::to_string(of->index) + " of job " + to_string(of->job) +
               " is validated by job " + to_string(by) + " and by job " + to_string(id);
      });
    }
  } else if (std::holds_alternative<proto::AttemptPlaced>(event.event)) {
    stored_placement(id, std::get<proto::AttemptPlaced>(event.event));
    rules_.placed(id, event.at, std::get<proto::AttemptPlaced>(event.event));
    sweeps_.placed(id);
  } else if (const auto* end = std::get_if<proto::RankFinished>(&event.event)) {
    stored_end(id, *end);
  } else if (const auto* failed = std::get_if<proto::AttemptFailed>(&event.event)) {
    stored_failure(id, *failed);
  } else if (const auto* over = std::get_if<proto::AttemptEnded>(&event.event)) {
    stored_attempt_end(id, over->attempt);
  }
}

void Referee::stored(JobId id, const proto::MetricPoint& point) {
  auto& last = stored_[id];
  const auto& name = disk_.jobs().at(id).name;
  const auto attempt = Attempt(point.attempt);
  const auto described = [&] {
    return name_of(id, attempt) + ": report " + std::to_string(point.seq) + " follows report " +
           std::to_string(last.seq) + " of attempt " + std::to_string(last.attempt);
  };
  if (point.attempt != last.attempt) {
    check(point.attempt > last.attempt, "every report is stored once and in order", described);
    last = {point.attempt, 0};
  }
  check(point.seq == last.seq + 1, "every report is stored once and in order", described);
  last.seq = point.seq;
  const auto* rank = life({id, attempt, 0});
  check(rank != nullptr && point.seq <= rank->reports, "every stored report was made", described);
  const auto value = point.metrics.find("loss");
  const bool of_trial = workload_.plan(name).epochs > 0;
  const auto made =
      of_trial ? loss(name, point.metrics.value("epoch", std::int64_t{0})) : metric(name, attempt, point.seq);
  check(value != point.metrics.end() && value->get<double>() == made, "every stored report was made", [&] {
    return name_of(id, attempt) + ": report " + std::to_string(point.seq) + " holds other numbers";
  });
}

void Referee::sweep_acknowledged(JobId id, const std::string& name) {
  const auto before = sweep_numbers_.try_emplace(name, id).first->second;
  check(before == id, "what is submitted again with its key is one sweep",
        [&] { return name + " is sweep " + to_string(before) + " and sweep " + to_string(id); });
  check(disk_.sweeps().contains(id), "nothing is told before it is durable",
        [&] { return "sweep " + to_string(id) + " is acknowledged and not on disk"; });
  check(disk_.find(id) == nullptr, "no job number is used twice",
        [&] { return "number " + to_string(id) + " is a sweep's and a job's"; });
  acknowledged_sweeps_.emplace(id, name);
}

void Referee::points_cut(JobId id) {
  const auto& points = disk_.jobs().at(id).points;
  stored_[id] = points.empty() ? Stored{} : Stored{points.back().attempt, points.back().seq};
}

void Referee::stored_placement(JobId id, const proto::AttemptPlaced& placed) {
  const auto& job = disk_.jobs().at(id);
  check(!job.held && !job.paused, "a held job is not placed",
        [&] { return "job " + to_string(id) + " is placed and held"; });
  const auto& spec = workload_.plan(job.name).spec;
  const auto workers = static_cast<int>(placed.ranks.size());
  check(workers >= spec.scaling_config.least_workers() && workers <= spec.scaling_config.num_workers,
        "an attempt has as many workers as its job asks for",
        [&] { return name_of(id, placed.attempt) + " got " + std::to_string(workers); });
  const auto limit = queues_.find(spec.scheduling.queue);
  if (limit == queues_.end() || !limit->second.queue.jobs_max) return;
  int running = 1;
  for (const auto& [other, its] : disk_.jobs())
    if (other != id && its.placed > its.over &&
        workload_.plan(its.name).spec.scheduling.queue == spec.scheduling.queue)
      ++running;
  check(running <= *limit->second.queue.jobs_max, "a queue runs no more jobs than it may", [&] {
    return name_of(id, placed.attempt) + " is number " + std::to_string(running) + " in queue " +
           spec.scheduling.queue;
  });
}

void Referee::stored_end(JobId id, const proto::RankFinished& end) {
  const proto::RankKey key{id, end.attempt, end.rank};
  stored_ends_[{id, end.attempt}][end.rank] = end;
  const auto* rank = life(key);
  if (end.status.lost) {
    check(rank == nullptr || !rank->alive, "a lost rank is gone",
          [&] { return "rank " + to_string(key) + " is declared lost and runs"; });
    check(rank == nullptr || !rank->recorded || end.error, "a lost rank says why",
          [&] { return "rank " + to_string(key); });
    return;
  }
  if (rank == nullptr) {
    check(end.status.exit_code == 127, "an end is the true one",
          [&] { return "rank " + to_string(key) + " never ran and " + to_string(end.status); });
    return;
  }
  check(!rank->alive && rank->recorded && same(rank->status, end.status), "an end is the true one", [&] {
    return "rank " + to_string(key) + (rank->alive ? " runs" : " " + to_string(rank->status)) +
           ", stored: " + to_string(end.status);
  });
  // Its last words came before its end.
  if (end.rank != 0) return;
  const auto last = stored_.find(id);
  const std::int64_t points =
      last != stored_.end() && last->second.attempt == end.attempt.value() ? last->second.seq : 0;
  check(points == rank->reports, "no accepted report is lost", [&] {
    return "rank " + to_string(key) + " made " + std::to_string(rank->reports) + " reports, " +
           std::to_string(points) + " are stored";
  });
}

void Referee::stored_failure(JobId id, const proto::AttemptFailed& failure) {
  if (!failure.counted) return;
  const int failures = ++failures_[id];
  const int limit = workload_.plan(disk_.jobs().at(id).name).spec.run_config.failure_config.max_failures;
  check(!failure.retry || limit < 0 || failures <= limit, "no job is tried oftener than it may be", [&] {
    return name_of(id, failure.attempt) + " is failure " + std::to_string(failures) +
           " and is tried again; max_failures is " + std::to_string(limit);
  });
}

void Referee::stored_attempt_end(JobId id, Attempt attempt) {
  for (auto it = alive_.lower_bound({id, attempt, 0});
       it != alive_.end() && it->job == id && it->attempt == attempt; ++it)
    check(false, "no process of an ended attempt lives",
          [&] { return name_of(id, attempt) + " is over and rank " + to_string(*it) + " runs"; });
}

// ---- what is told -------------------------------------------------------------------------------

void Referee::on_sent_to_agent(const proto::Message& message) {
  const auto placed = [&](JobId id, Attempt attempt) {
    const auto* job = disk_.find(id);
    check(job != nullptr && job->placed >= attempt.value(), "nothing is told before it is durable", [&] {
      return std::string(proto::message_name(message)) + " of " + name_of(id, attempt) +
             " went out, its placement is not on disk";
    });
  };
  if (const auto* reserve = std::get_if<proto::ReservePort>(&message))
    return placed(reserve->job, reserve->attempt);
  if (const auto* launch = std::get_if<proto::Launch>(&message)) return placed(launch->job, launch->attempt);
  const auto stopping = [&](JobId id, Attempt attempt) {
    const auto* job = disk_.find(id);
    check(job != nullptr && (job->stopping >= attempt.value() || job->over >= attempt.value()),
          "nothing is told before it is durable", [&] {
            return std::string(proto::message_name(message)) + " of " + name_of(id, attempt) +
                   " went out, why is not on disk";
          });
  };
  if (const auto* stop = std::get_if<proto::StopAttempt>(&message)) stopping(stop->job, stop->attempt);
  if (const auto* yield = std::get_if<proto::YieldAttempt>(&message)) stopping(yield->job, yield->attempt);
}

void Referee::confirmed(const proto::Message& message) {
  const auto over = [&](const Disk::Job* job, const proto::RankKey& key) {
    return job != nullptr &&
           (job->over >= key.attempt.value() || job->finished.contains({key.attempt.value(), key.rank}));
  };
  if (const auto* report = std::get_if<proto::RankReport>(&message)) {
    const auto* job = disk_.find(report->key.job);
    const auto last = stored_.find(report->key.job);
    const bool there = last != stored_.end() && last->second.attempt == report->key.attempt.value() &&
                       last->second.seq >= report->seq;
    check(there || report->key.rank != 0 || over(job, report->key), "nothing is told before it is durable",
          [&] {
            return "report " + std::to_string(report->seq) + " of rank " + to_string(report->key) +
                   " is confirmed and not on disk";
          });
    check(!report->checkpoint || report->key.rank != 0 || over(job, report->key) ||
              checkpoint_stored(*job, report->key, report->seq),
          "every accepted checkpoint is stored", [&] {
            return "report " + std::to_string(report->seq) + " of rank " + to_string(report->key) +
                   " is confirmed and its checkpoint is not on disk";
          });
  } else if (const auto* end = std::get_if<proto::RankEnded>(&message)) {
    check(over(disk_.find(end->key.job), end->key), "nothing is told before it is durable",
          [&] { return "the end of rank " + to_string(end->key) + " is confirmed and not on disk"; });
  }
}

void Referee::acknowledged(JobId first, std::int64_t jobs, const std::string& name) {
  const auto before = numbers_.try_emplace(name, first).first->second;
  check(before == first, "what is submitted again with its key is one job",
        [&] { return name + " is job " + to_string(before) + " and job " + to_string(first); });
  for (std::int64_t i = 0; i < jobs; ++i) acknowledged(JobId(first.value() + i), name);
}

void Referee::acknowledged(JobId id, const std::string& name) {
  const auto* job = disk_.find(id);
  check(job != nullptr && job->name == name, "no acknowledged job is lost",
        [&] { return "job " + to_string(id) + " (" + name + ") is acknowledged and not on disk"; });
  const auto known = acknowledged_.try_emplace(id, name).first;
  check(known->second == name, "no job number is used twice", [&, by = known->second] {
    return "number " + to_string(id) + " is given to " + name + " and to " + by;
  });
}

void Referee::cancel_acknowledged(JobId id) {
  const auto* job = disk_.find(id);
  check(job != nullptr && job->cancelled, "nothing is told before it is durable",
        [&] { return "the cancel of job " + to_string(id) + " is acknowledged and not on disk"; });
}

void Referee::hold_acknowledged(JobId id) {
  const auto* job = disk_.find(id);
  const auto held = [](const proto::StampedEvent& event) {
    const auto* one = std::get_if<proto::JobHeld>(&event.event);
    return one != nullptr && !one->by_sweep;
  };
  check(job != nullptr && std::ranges::any_of(job->events, held), "nothing is told before it is durable",
        [&] { return "the hold of job " + to_string(id) + " is acknowledged and not on disk"; });
}

void Referee::shown(JobId id, core::JobPhase phase) {
  const auto* job = disk_.find(id);
  check(job != nullptr, "nothing is told before it is durable",
        [&] { return "job " + to_string(id) + " is shown and not on disk"; });
  const auto before = shown_end_.find(id);
  check(before == shown_end_.end() || before->second == phase, "an end is final", [&] {
    return "job " + to_string(id) + " was shown as " + std::string(core::to_string(before->second)) +
           " and is " + std::string(core::to_string(phase));
  });
  if (!core::is_terminal(phase)) return;
  check(job != nullptr && job->end == phase, "nothing is told before it is durable", [&] {
    return "job " + to_string(id) + " is shown as " + std::string(core::to_string(phase)) +
           ", which is not on disk";
  });
  shown_end_[id] = phase;
}

// ---- at rest ------------------------------------------------------------------------------------

/// Its failures are used up, or its last two attempts ended by the same error before they had reported
/// anything.
bool Referee::may_fail(JobId id, const core::JobState& state) const {
  if (state.error && state.error->kind == "time_limit")
    return state.spec->scheduling.time_limit_s.has_value();
  const auto& config = state.spec->run_config.failure_config;
  if (config.max_failures >= 0 && state.failures > config.max_failures) return true;
  if (config.controller_failure_limit >= 0 && state.controller_failures > config.controller_failure_limit)
    return true;
  std::vector<std::string> words;  // of each failed attempt; "" of those that had reported
  const auto& job = disk_.jobs().at(id);
  for (const auto& event : job.events)
    if (const auto* failed = std::get_if<proto::AttemptFailed>(&event.event)) {
      const auto* rank = life({id, failed->attempt, failed->error.rank.value_or(0)});
      const bool reported = std::ranges::any_of(job.points, [&](const proto::MetricPoint& point) {
        return point.attempt == failed->attempt.value() && point.time_ms < event.at;
      });
      words.push_back(reported ? "" : rank != nullptr ? to_string(rank->status) : "never started");
    }
  return words.size() >= 2 && !words.back().empty() && words.back() == words[words.size() - 2];
}

/// Of a job that has ended.
void Referee::check_validations(JobId id, const core::JobState& state) {
  for (const auto& checkpoint : state.checkpoints) {
    check(!checkpoint.pinned(), "no checkpoint is pinned for ever",
          [&] { return checkpoint.path + " of job " + to_string(id) + " waits for its validation"; });
    if (!checkpoint.validation) continue;
    const auto by = validated_by_.find({id, checkpoint.index});
    const auto* job = by == validated_by_.end() ? nullptr : disk_.find(by->second);
    const bool succeeded = job != nullptr && job->end == core::JobPhase::kSucceeded;
    const bool validated = checkpoint.validation->status == proto::ValidationStatus::kValidated;
    const auto found = checkpoint.metrics.find("score");
    const bool right = validated ? succeeded && found != checkpoint.metrics.end() &&
                                       found->get<double>() == score(checkpoint.index)
                                 : found == checkpoint.metrics.end() &&
                                       (!succeeded || state.phase != core::JobPhase::kSucceeded);
    check(right, "a checkpoint has what its validation returned", [&] {
      return checkpoint.path + " of job " + to_string(id) + ": " +
             std::string(to_string(checkpoint.validation->status)) + ", " + checkpoint.validation->error +
             ", " + checkpoint.metrics.dump();
    });
  }
}

void Referee::check_disk() {
  for (const auto& [id, name] : acknowledged_sweeps_)
    check(disk_.sweeps().contains(id), "no acknowledged sweep is lost",
          [&, id = id, name = name] { return "sweep " + to_string(id) + " (" + name + ") is gone"; });
  sweeps_.check_disk();
  for (const auto& [id, name] : acknowledged_) {
    const auto* job = disk_.find(id);
    check(job != nullptr && job->name == name, "no acknowledged job is lost",
          [&] { return "job " + to_string(id) + " (" + name + ") is gone"; });
  }
  for (const auto& [id, job] : disk_.jobs()) {
    if (!job.end) continue;
    const auto is_failure = [](const proto::StampedEvent& event) {
      const auto* failed = std::get_if<proto::AttemptFailed>(&event.event);
      return failed != nullptr && failed->counted;
    };
    check(disk_.state(id).failures == std::ranges::count_if(job.events, is_failure),
          "a place that was given back is no failure", [&, id = id] { return "job " + to_string(id); });
    const auto state = disk_.state(id);
    const auto& ends = stored_ends_[{id, state.attempt}];
    const auto described = [&, id = id] {
      return "job " + to_string(id) + " (" + state.spec->name + ") is " +
             std::string(core::to_string(state.phase)) + " after attempt " + to_string(state.attempt) +
             (state.error ? ": " + state.error->message + "; " + state.verdict : "");
    };
    // The same by replay from the first event.
    const auto replayed = core::replay(id, job.events);
    check(replayed.has_value() && replayed->phase == state.phase && replayed->attempt == state.attempt,
          "a replay gives the same state", [&] {
            return described() + "; replayed: " +
                   (replayed ? std::string(core::to_string(replayed->phase)) : replayed.error().message());
          });
    bool all_succeeded = state.attempt.value() > 0;
    const bool finished = state.yield && state.yield->cause == proto::YieldCause::kFinished;
    for (const auto& [rank, end] : ends)
      all_succeeded = all_succeeded && end.status.success() && !end.error && (!end.yielded || finished);
    // its ranks may have come to their end all the same
    const bool out_of_time = state.error && state.error->kind == "time_limit";
    if (state.phase == core::JobPhase::kSucceeded)
      check(all_succeeded && ends.size() == state.ranks.size(), "a job ends with its right result",
            described);
    if (state.phase == core::JobPhase::kCancelled)
      check(cancels_.contains(state.spec->name) || state.validates || state.sweep,
            "a job ends with its right result", described);
    check_validations(id, state);
    if (state.phase == core::JobPhase::kFailed)
      check((!all_succeeded || out_of_time) && state.error && may_fail(id, state),
            "a job ends with its right result", described);
  }
}

}  // namespace rtrain::sim
