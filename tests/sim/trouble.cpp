#include "tests/sim/trouble.h"

namespace rtrain::sim {

Trouble::Trouble(Cluster& cluster) : cluster_(cluster), world_(cluster.world()) {
  auto& random = world_.random();
  ends_ = seconds(random.between(40.0, 90.0));
  world_.at(ends_, [this] { cluster_.heal(); });
  if (random.chance(0.1)) return;  // a calm run
  const auto sometimes = [&](double probability, double most) {
    return random.chance(probability) ? random.between(0.5, most) : 0.0;
  };
  plan(sometimes(0.7, 6), [this] { kill_head(); });
  plan(sometimes(0.6, 12), [this] { break_connection(); });
  plan(sometimes(0.6, 10), [this] { partition(); });
  plan(sometimes(0.3, 4), [this] { slow_link(); });
  plan(sometimes(0.4, 4), [this] { cut_power(); });
  plan(sometimes(0.5, 8), [this] { kill_agent(); });
  plan(sometimes(0.2, 3), [this] { cluster_.kill_supervisor(any_node()); });
  plan(sometimes(0.2, 3), [this] { fill_disk(); });
  plan(sometimes(0.2, 3), [this] { slow_disk(); });
  plan(sometimes(0.2, 3), [this] { cluster_.disk().next_sync_fails = true; });
}

void Trouble::plan(double often, std::function<void()> strike) {
  auto& random = world_.random();
  const int times = static_cast<int>(often) + (random.chance(often - static_cast<int>(often)) ? 1 : 0);
  for (int i = 0; i < times; ++i)
    world_.at(static_cast<Time>(static_cast<double>(ends_) * random.uniform()), strike);
}

std::size_t Trouble::any_node() {
  return static_cast<std::size_t>(world_.random().between(0, static_cast<int>(cluster_.nodes()) - 1));
}

/// Mostly short, sometimes longer than any lease.
double Trouble::a_while() {
  auto& random = world_.random();
  const double dice = random.uniform();
  if (dice < 0.4) return random.between(0.01, 1.0);
  if (dice < 0.65) return random.between(1.0, 8.0);
  return random.between(8.0, 40.0);
}

void Trouble::kill_head() {
  auto& random = world_.random();
  if (!cluster_.head().up()) return;
  cluster_.head().crash(random.chance(0.2));
  world_.after(seconds(a_while()), [this] {
    if (!cluster_.head().up()) cluster_.head().start();
  });
}

void Trouble::break_connection() {
  const auto node = any_node();
  const bool silently = world_.random().chance(0.3);
  world_.note("a connection breaks", node, silently);
  cluster_.network().break_connections(node, silently);
}

void Trouble::partition() {
  const auto node = any_node();
  const int kind = world_.random().between(0, 2);
  world_.note("a partition", node, kind);
  cluster_.network().set_blocked(node, kind != 1, kind != 0);
  world_.after(seconds(a_while()), [this, node] {
    world_.note("a partition heals", node);
    cluster_.network().set_blocked(node, false, false);
  });
}

void Trouble::slow_link() {
  const auto node = any_node();
  cluster_.network().link(node).slowness = world_.random().between(10.0, 300.0);
  world_.after(seconds(a_while()), [this, node] { cluster_.network().link(node).slowness = 1; });
}

void Trouble::cut_power() {
  const auto node = any_node();
  if (!cluster_.agent_up(node)) return;
  cluster_.power_cut(node);
  world_.after(seconds(a_while()), [this, node] {
    if (!cluster_.agent_up(node)) cluster_.start_agent(node);
  });
}

void Trouble::kill_agent() {
  const auto node = any_node();
  if (!cluster_.agent_up(node)) return;
  cluster_.kill_agent(node);
  world_.after(seconds(a_while()), [this, node] {
    if (!cluster_.agent_up(node)) cluster_.start_agent(node);
  });
}

void Trouble::fill_disk() {
  world_.note("the disk is full");
  cluster_.disk().full = true;
  world_.after(seconds(a_while()), [this] {
    world_.note("the disk has room");
    cluster_.disk().full = false;
    cluster_.head().disk_changed();
  });
}

void Trouble::slow_disk() {
  world_.note("the disk is slow");
  cluster_.disk().slowness = world_.random().between(10.0, 300.0);
  world_.after(seconds(a_while()), [this] { cluster_.disk().slowness = 1; });
}

}  // namespace rtrain::sim
