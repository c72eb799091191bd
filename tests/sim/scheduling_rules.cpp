#include "tests/sim/scheduling_rules.h"

#include "daemon/head/dispatcher.h"
#include "tests/sim/referee.h"

#include <algorithm>
#include <cmath>

namespace rtrain::sim {
namespace {

/// What an order to stop takes at most when nothing stands in its way: the longest stop_grace_s of the
/// workload, a process that is still being made, a slow commit, and its way there.
constexpr Time kStopTakes = seconds(3 + 2);

bool covers(const proto::ReservationDoc& reservation, const std::string& node) {
  return std::ranges::find(reservation.nodes, node) != reservation.nodes.end();
}

bool may_use(const proto::ReservationDoc& reservation, const std::string& user) {
  return reservation.users.empty() || std::ranges::find(reservation.users, user) != reservation.users.end();
}

}  // namespace

// ---- operators ----------------------------------------------------------------------------------

void SchedulingRules::order_acknowledged(const NodeOrderPlan& order) {
  const auto stored = head::node_setting_from_json(disk_.document("node", order.node));
  referee_.check(stored.has_value() && stored->cordoned && stored->draining == order.drain &&
                     (stored->drain_until_ms != 0) == (order.drain && order.deadline_s >= 0),
                 "nothing is told before it is durable", [&] {
                   return "the order to " + std::string(order.drain ? "drain " : "cordon ") + order.node +
                          " is acknowledged and not on disk";
                 });
  if (stored) orders_[order.node] = {true, order.drain, stored->drain_until_ms, world_.now()};
  calm_since_[order.node] = world_.now();
}

void SchedulingRules::uncordon_acknowledged(const std::string& node) {
  const auto document = disk_.document("node", node);
  referee_.check(document.is_null(), "nothing is told before it is durable",
                 [&] { return node + " is uncordoned, and is not on disk: " + document.dump(); });
  orders_[node] = {};
}

void SchedulingRules::reservation_acknowledged(const core::Reservation& reservation) {
  const bool over = reservation.end_ms <= world_.wall_ms();
  referee_.check(over || !disk_.document("reservation", reservation.name).is_null(),
                 "nothing is told before it is durable",
                 [&] { return "the reservation " + reservation.name + " is acknowledged and not on disk"; });
  reservations_[reservation.name] = reservation;
}

void SchedulingRules::reservation_deleted(const std::string& name) {
  referee_.check(disk_.document("reservation", name).is_null(), "nothing is told before it is durable",
                 [&] { return "the reservation " + name + " is told to be deleted and is on disk"; });
  reservations_[name] = std::nullopt;
}

void SchedulingRules::look_at(const std::string& node, bool calm) {
  if (!calm) calm_since_[node] = world_.now();
  const auto found = orders_.find(node);
  if (found == orders_.end() || !found->second.drained) return;
  const auto& order = found->second;
  for (const auto& key : referee_.alive_on(node)) {
    // With a deadline all that is left then goes, without one each job has its own grace; a head that starts
    // counts it anew.
    const double grace_s = submitted(key.job).spec->scheduling.preempt_grace_s;
    const Time over =
        order.until_ms != 0
            ? std::max((order.until_ms - world_.wall_ms()) * 1000 + world_.now(), calm_since_[node])
            : calm_since_[node] + seconds(grace_s);
    referee_.check(world_.now() <= over + kStopTakes, "a drained node is empty after its deadline", [&] {
      return "rank " + to_string(key) + " runs on " + node + ", which should be empty since " +
             to_text(over) + " s";
    });
  }
}

// ---- placements ---------------------------------------------------------------------------------

void SchedulingRules::placed(JobId id, proto::UnixMs at, const proto::AttemptPlaced& placed) {
  for (const auto& rank : placed.ranks)
    if (rank.local_rank == 0) check_place(id, at, rank.node);
  const auto& job = submitted(id);
  if (job.array && job.array->max_running > 0) check_array(id, *job.array);
  if (placed.attempt.value() > 1) return;
  for (const auto& dependency : job.spec->scheduling.depends_on)
    referee_.check(holds(dependency), "a dependent does not start before its condition holds", [&] {
      return "job " + to_string(id) + " is placed, and " + to_string(dependency) + " does not hold";
    });
}

void SchedulingRules::check_place(JobId id, proto::UnixMs at, const std::string& node) {
  const auto described = [&](const std::string& why) {
    return [=] { return "job " + to_string(id) + " is placed on " + node + ", " + why; };
  };
  const auto order = orders_.find(node);
  referee_.check(order == orders_.end() || !order->second.cordoned, "a cordoned node gets nothing new",
                 described("which was cordoned, as was acknowledged"));
  if (const auto document = disk_.document("node", node); !document.is_null()) {
    const auto setting = head::node_setting_from_json(document);
    referee_.check(setting.has_value() && !setting->cordoned, "a cordoned node gets nothing new",
                   described("which is cordoned"));
  }
  const auto& job = submitted(id);
  const auto& wanted = job.spec->scheduling.reservation;
  bool within = wanted.empty();
  for (const auto& plan : workload_.reservations) {
    const auto document = disk_.document("reservation", plan.name);
    if (document.is_null()) continue;
    const auto reservation = document.get<proto::ReservationDoc>();
    if (!covers(reservation, node) || at >= reservation.end_ms) continue;
    if (reservation.name == wanted) {
      within = reservation.start_ms <= at && may_use(reservation, job.user);
      continue;
    }
    const auto limit = job.spec->scheduling.time_limit_s;
    // it rounds to milliseconds
    const bool over_before = limit && at + std::llround(*limit * 1000) <= reservation.start_ms + 1;
    referee_.check(over_before, "a reservation keeps its nodes",
                   described("which is kept by reservation " + reservation.name));
  }
  referee_.check(within, "a reservation keeps its nodes",
                 described("which is not in reservation " + wanted + " for " + job.user + " now"));
}

void SchedulingRules::check_array(JobId id, const proto::ArrayTask& array) {
  int running = 1;
  for (const auto* job : targets(array.id))
    running += job != disk_.find(id) && job->placed > job->over ? 1 : 0;
  referee_.check(running <= array.max_running, "an array runs no more of its jobs at once than it may", [&] {
    return "job " + to_string(id) + " of array " + to_string(array.id) + " makes " + std::to_string(running) +
           " of " + std::to_string(array.max_running);
  });
}

void SchedulingRules::head_started(const head::Dispatcher& head) {
  for (const auto& [node, order] : orders_) {
    const auto& setting = head.node_admin().setting(node);
    referee_.check(setting.cordoned == order.cordoned && setting.draining == order.drained &&
                       setting.drain_until_ms == order.until_ms,
                   "what operators set outlives the head",
                   [&, node = node] { return "of " + node + " the head says: " + setting.words(); });
  }
  for (const auto& [name, reservation] : reservations_) {
    const auto known = head.reservations().all().find(name);
    const bool there = known != head.reservations().all().end();
    const bool right = !reservation ? !there
                       : !there     ? reservation->end_ms <= world_.wall_ms()
                                    : known->second.nodes == reservation->nodes &&
                                      known->second.users == reservation->users &&
                                      known->second.start_ms == reservation->start_ms &&
                                      known->second.end_ms == reservation->end_ms;
    referee_.check(right, "what operators set outlives the head", [&, name = name] {
      return "the head " + std::string(there ? "has" : "has no") + " reservation " + name;
    });
  }
}

// ---- at rest ------------------------------------------------------------------------------------

const proto::JobSubmitted& SchedulingRules::submitted(JobId id) const {
  return std::get<proto::JobSubmitted>(disk_.jobs().at(id).events.front().event);
}

std::vector<const Disk::Job*> SchedulingRules::targets(JobId id) const {
  const auto& array = submitted(id).array;
  const int count = array && array->id == id ? array->count : 1;
  std::vector<const Disk::Job*> jobs;
  for (int i = 0; i < count; ++i) jobs.push_back(disk_.find(JobId(id.value() + i)));
  return jobs;
}

bool SchedulingRules::holds(const proto::Dependency& dependency) const {
  return std::ranges::all_of(targets(dependency.job), [&](const Disk::Job* job) {
    switch (dependency.kind) {
      case proto::DependencyKind::kAfter: return job->placed > 0 || job->end.has_value();
      case proto::DependencyKind::kAfterAny: return job->end.has_value();
      case proto::DependencyKind::kAfterOk: return job->end == core::JobPhase::kSucceeded;
    }
    return false;
  });
}

bool SchedulingRules::never_holds(const proto::Dependency& dependency) const {
  if (dependency.kind != proto::DependencyKind::kAfterOk) return false;
  return std::ranges::any_of(targets(dependency.job), [](const Disk::Job* job) {
    return job->end && job->end != core::JobPhase::kSucceeded;
  });
}

bool SchedulingRules::can_never_start(JobId id) const {
  return disk_.jobs().at(id).placed == 0 &&
         std::ranges::any_of(submitted(id).spec->scheduling.depends_on,
                             [this](const auto& on) { return never_holds(on); });
}

/// No order counts on more than is there: whole workers, on nodes that are not cordoned.
bool SchedulingRules::fits_when_idle(const proto::ScalingConfig& scaling) const {
  const auto needed = scaling.resources();
  int workers = 0;
  for (const auto& node : nodes_) {
    if (const auto order = orders_.find(node.name); order != orders_.end() && order->second.cordoned)
      continue;
    int fit = scaling.num_workers;
    for (const auto& [name, amount] : needed) {
      const auto offered = node.resources.find(name);
      if (amount > 0)
        fit = std::min(
            fit, static_cast<int>((offered == node.resources.end() ? 0 : offered->second) / amount + 1e-9));
    }
    workers += fit;
  }
  return workers >= scaling.least_workers();
}

bool SchedulingRules::may_wait_for_ever(JobId id) const {
  const auto* job = disk_.find(id);
  if (job == nullptr || job->end || job->placed > job->over || job->held || job->paused) return false;
  const auto& job_submitted = submitted(id);
  const auto& spec = *job_submitted.spec;
  if (can_never_start(id)) return true;
  for (const auto& dependency : spec.scheduling.depends_on) {
    if (job->placed > 0 || holds(dependency)) continue;
    const auto count = static_cast<std::int64_t>(targets(dependency.job).size());
    for (std::int64_t i = 0; i < count; ++i)
      if (may_wait_for_ever(JobId(dependency.job.value() + i))) return true;
  }
  if (const auto& name = spec.scheduling.reservation; !name.empty()) {
    const auto document = disk_.document("reservation", name);
    return document.is_null() || !may_use(document.get<proto::ReservationDoc>(), job_submitted.user);
  }
  return !fits_when_idle(spec.scaling_config);
}

void SchedulingRules::check_reason(JobId id, const std::string& reason) {
  referee_.check(!reason.empty(), "a job that waits says why", [&] { return "job " + to_string(id); });
  referee_.check(can_never_start(id) == (reason.find("DependencyNeverSatisfied") != std::string::npos),
                 "a job whose condition can never hold says so",
                 [&] { return "job " + to_string(id) + ": " + reason; });
}

}  // namespace rtrain::sim
