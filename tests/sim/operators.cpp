#include "tests/sim/operators.h"

#include "tests/sim/question.h"

#include <utility>

namespace rtrain::sim {
namespace {

constexpr double kLookEveryS = 0.5;

core::Reservation reservation_of(const ReservationPlan& plan, proto::UnixMs now) {
  const auto start = now + static_cast<proto::UnixMs>(plan.begins_s * 1000);
  return {plan.name,  plan.nodes,   start, start + static_cast<proto::UnixMs>(plan.lasts_s * 1000),
          plan.users, "an operator"};
}

}  // namespace

Operators::Operators(Cluster& cluster) : cluster_(cluster), world_(cluster.world()) {
  const auto& workload = cluster.workload();
  for (const auto& plan : workload.orders) {
    ++open_;
    world_.at(seconds(plan.at_s), [this, &plan] { order(plan); });
  }
  for (const auto& plan : workload.reservations) {
    ++open_;
    world_.at(seconds(plan.create_s),
              [this, &plan] { reserve(reservation_of(plan, world_.wall_ms()), plan.delete_s); });
  }
  if (!workload.orders.empty()) look();
}

void Operators::later(std::function<void()> again) {
  world_.after(seconds(world_.random().between(0.2, 2.0)), std::move(again));
}

void Operators::order(const NodeOrderPlan& plan) {
  cluster_.referee().rules().order_sent(plan.node);
  const auto again = [this, &plan] { later([this, &plan] { order(plan); }); };
  ask<Done>(
      cluster_,
      [&plan](head::Dispatcher& head) {
        return plan.drain
                   ? head.node_admin().drain(
                         plan.node, "new disk",
                         plan.deadline_s < 0 ? std::nullopt : std::optional(plan.deadline_s), "an operator")
                   : head.node_admin().cordon(plan.node, "new disk", "an operator");
      },
      [](const Result<Done>&) {},
      [this, &plan, again](const Result<Done>& done) {
        if (!done) return again();  // its agent has not come yet
        world_.note(plan.drain ? "drains" : "cordoned", plan.node);
        cluster_.referee().rules().order_acknowledged(plan);
        if (plan.lasts_s < 0)
          --open_;
        else
          world_.after(seconds(plan.lasts_s), [this, &plan] { uncordon(plan.node); });
      },
      again);
}

void Operators::uncordon(const std::string& node) {
  cluster_.referee().rules().order_sent(node);
  const auto again = [this, node] { later([this, node] { uncordon(node); }); };
  ask<Done>(
      cluster_, [node](head::Dispatcher& head) { return head.node_admin().uncordon(node, "an operator"); },
      [](const Result<Done>&) {},
      [this, node, again](const Result<Done>& done) {
        if (!done) return again();
        world_.note("uncordoned", node);
        cluster_.referee().rules().uncordon_acknowledged(node);
        --open_;
      },
      again);
}

void Operators::reserve(const core::Reservation& reservation, double delete_s) {
  cluster_.referee().rules().reservation_sent(reservation.name);
  const auto again = [this, reservation, delete_s] {
    later([this, reservation, delete_s] { reserve(reservation, delete_s); });
  };
  ask<Done>(
      cluster_, [reservation](head::Dispatcher& head) { return head.reservations().reserve(reservation); },
      [](const Result<Done>&) {},
      [this, reservation, delete_s, again](const Result<Done>& done) {
        // A conflict by its name: made before, and the answer was lost. By its nodes or its time: there will
        // be none.
        const bool made = done || (done.error().code() == Errc::kConflict &&
                                   !cluster_.disk().document("reservation", reservation.name).is_null());
        if (!made && (done.error().code() == Errc::kUnavailable || done.error().code() == Errc::kNotFound))
          return again();
        if (!made) {
          --open_;
          return;
        }
        world_.note("reserved", reservation.name);
        cluster_.referee().rules().reservation_acknowledged(reservation);
        if (delete_s < 0)
          --open_;
        else
          world_.after(seconds(delete_s), [this, name = reservation.name] { unreserve(name); });
      },
      again);
}

void Operators::unreserve(const std::string& name) {
  cluster_.referee().rules().reservation_sent(name);
  const auto again = [this, name] { later([this, name] { unreserve(name); }); };
  ask<Done>(
      cluster_, [name](head::Dispatcher& head) { return head.reservations().remove(name, "an operator"); },
      [](const Result<Done>&) {},
      [this, name, again](const Result<Done>& done) {
        // not found: over, or deleted before
        if (!done && done.error().code() != Errc::kNotFound) return again();
        world_.note("reservation deleted", name);
        cluster_.referee().rules().reservation_deleted(name);
        --open_;
      },
      again);
}

void Operators::look() {
  world_.after(seconds(kLookEveryS), [this] { look(); });
  // A head that starts counts each grace anew, also when it was away only between two looks.
  const int starts = cluster_.head().starts();
  const bool same_head = std::exchange(head_starts_, starts) == starts;
  for (std::size_t node = 0; node < cluster_.nodes(); ++node)
    cluster_.referee().rules().look_at(cluster_.node_name(node), same_head && cluster_.calm(node));
}

}  // namespace rtrain::sim
