#include "daemon/core/node_index.h"

#include <algorithm>
#include <cmath>

namespace rtrain::core {
namespace {

constexpr std::int64_t kOrderGap = std::int64_t{1} << 32;

bool matches(const IndexedNode& node, const Need& need) {
  if (need.reservation >= 0 && std::ranges::none_of(node.windows, [&](const Window& window) {
        return window.reservation == need.reservation;
      }))
    return false;
  if (!need.accelerator.empty()) {
    const auto label = node.info.labels.find("rtrain/accelerator-type");
    const bool labelled = label != node.info.labels.end() && is_accelerator(label->second, need.accelerator);
    if (!labelled && std::ranges::none_of(node.info.gpus, [&](const proto::GpuInfo& gpu) {
          return is_accelerator(gpu.name, need.accelerator);
        }))
      return false;
  }
  return need.selector.empty() || proto::matches(need.selector, node.info.labels);
}

double amount_of(const proto::Resources& resources, const char* name) {
  const auto found = resources.find(name);
  return found == resources.end() ? 0 : found->second;
}

/// So that what was taken and given back many times compares equal again.
double rounded(double value) { return std::round(value * 1e6) / 1e6; }

}  // namespace

// ---- one need -----------------------------------------------------------------------------------

void Fit::follow(const NodeIndex& index, const Need& need) {
  if (epoch_ != index.epoch_) {
    epoch_ = index.epoch_;
    slots_.clear();
    rooms_.clear();
    suspected_.clear();
    ++idle_version_;
    slots_.resize(index.nodes_.size());
    for (NodeId id = 0; id < index.size(); ++id) look(index, need, id);
    followed_ = index.touched_.size();
    return;
  }
  if (slots_.size() < index.nodes_.size()) slots_.resize(index.nodes_.size());
  for (; followed_ < index.touched_.size(); ++followed_) look(index, need, index.touched_[followed_]);
}

void Fit::look(const NodeIndex& index, const Need& need, NodeId id) {
  const auto& node = index[id];
  auto& slot = slots_[static_cast<std::size_t>(id)];
  if (slot.version != node.version) {
    const int idle =
        node.alive && !node.cordoned && matches(node, need) ? node.total.capacity(need.amounts) : 0;
    ++idle_version_;  // its rack may be another
    slot.idle = idle;
    slot.version = node.version;
  }
  const int capacity =
      slot.idle > 0 && !node.away && node.reserved == need.reservation ? node.free.capacity(need.amounts) : 0;
  if (capacity == slot.capacity && node.busy == slot.busy && node.order == slot.order &&
      node.suspected == slot.suspected)
    return;
  if (slot.capacity > 0)
    (slot.suspected ? suspected_ : rooms_).erase({slot.capacity, slot.busy, slot.order, id});
  slot.capacity = capacity;
  slot.busy = node.busy;
  slot.order = node.order;
  slot.suspected = node.suspected;
  if (capacity > 0) (slot.suspected ? suspected_ : rooms_).insert({capacity, slot.busy, slot.order, id});
}

// ---- nodes --------------------------------------------------------------------------------------

NodeId NodeIndex::set(const NodeView& view, ResourceNames& names) {
  gpu_number_ = static_cast<std::size_t>(names.number("GPU"));
  cpu_number_ = static_cast<std::size_t>(names.number("CPU"));
  const auto [place, is_new] = by_name_.try_emplace(view.info.name, size());
  const NodeId id = place->second;
  if (is_new) {
    nodes_.emplace_back();
    nodes_.back().order = order_for(place);
  }
  auto& node = nodes_[static_cast<std::size_t>(id)];
  if (!is_new) count(node, -1);
  node.info = view.info;
  node.total = Stock(view, names, true);
  node.free = Stock(view, names, false);
  node.alive = view.alive;
  node.away = view.away;
  node.cordoned = view.cordoned;
  node.suspected = view.suspicion > 0;
  node.rack = rack_of(view.info, id);
  node.busy = rounded(amount_of(view.used, "GPU") * 1e6 + amount_of(view.used, "CPU"));
  ++node.version;
  count(node, 1);
  touch(id);
  return id;
}

NodeId NodeIndex::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? -1 : found->second;
}

int NodeIndex::rack_of(const proto::NodeInfo& info, NodeId node) {
  auto label = info.labels.find("rtrain/rack");
  if (label == info.labels.end()) label = info.labels.find("rack");
  if (label == info.labels.end()) return -1 - node;
  return racks_.try_emplace(label->second, static_cast<int>(racks_.size())).first->second;
}

/// Between its neighbours; when there is no number left between them all get new ones.
std::int64_t NodeIndex::order_for(std::map<std::string, NodeId>::iterator place) {
  const auto next = std::next(place);
  const bool first = place == by_name_.begin(), last = next == by_name_.end();
  const auto below = first ? 0 : (*this)[std::prev(place)->second].order;
  const auto above = last ? 0 : (*this)[next->second].order;
  if (first && last) return 0;
  if (last) return below + kOrderGap;
  if (first) return above - kOrderGap;
  if (above - below > 1) return below + (above - below) / 2;
  std::int64_t order = 0;
  for (const auto& [name, id] : by_name_) nodes_[static_cast<std::size_t>(id)].order = order += kOrderGap;
  ++epoch_;
  touched_.clear();
  return (*this)[place->second].order;
}

void NodeIndex::count(const IndexedNode& node, double sign) {
  if (!node.alive) return;
  for (const auto& [name, amount] : node.info.resources)
    totals_[name] = std::max(0.0, totals_[name] + sign * amount);
}

void NodeIndex::touch(NodeId node) {
  if (touched_.size() > 4 * nodes_.size() + 4096) {
    touched_.clear();
    ++epoch_;
  }
  touched_.push_back(node);
}

std::vector<int> NodeIndex::take(NodeId id, const Need& need, int workers) {
  auto gpus = nodes_[static_cast<std::size_t>(id)].free.take(need.amounts, workers);
  changed(id, need, workers);
  return gpus;
}

void NodeIndex::take(NodeId id, const Need& need, int workers, const std::vector<int>& gpus) {
  nodes_[static_cast<std::size_t>(id)].free.take(need.amounts, workers, gpus);
  changed(id, need, workers);
}

void NodeIndex::give(NodeId id, const Need& need, int workers, const std::vector<int>& gpus) {
  nodes_[static_cast<std::size_t>(id)].free.give(need.amounts, workers, gpus);
  changed(id, need, -workers);
}

void NodeIndex::changed(NodeId id, const Need& need, int workers) {
  double busy = 0;
  for (const auto& [resource, amount] : need.amounts.each) {
    if (static_cast<std::size_t>(resource) == gpu_number_)
      busy += amount * 1e6;
    else if (static_cast<std::size_t>(resource) == cpu_number_)
      busy += amount;
  }
  auto& node = nodes_[static_cast<std::size_t>(id)];
  node.busy = rounded(node.busy + workers * busy);
  touch(id);
}

// ---- reservations -------------------------------------------------------------------------------

void NodeIndex::set_windows(NodeId id, std::vector<Window> windows) {
  auto& node = nodes_[static_cast<std::size_t>(id)];
  node.windows = std::move(windows);
  std::ranges::sort(node.windows, {}, &Window::start_ms);
  if (node.windows.empty())
    windowed_.erase(id);
  else
    windowed_.insert(id);
  node.reserved = -1;
  ++node.version;
  touch(id);
}

proto::UnixMs NodeIndex::pass_time(proto::UnixMs now) {
  proto::UnixMs next = kNever;
  for (const auto id : windowed_) {
    auto& node = nodes_[static_cast<std::size_t>(id)];
    int reserved = -1;
    for (const auto& window : node.windows) {
      if (window.start_ms > now)
        next = std::min(next, window.start_ms);
      else if (window.end_ms > now) {
        next = std::min(next, window.end_ms);
        reserved = window.reservation;
      }
    }
    if (reserved == node.reserved) continue;
    node.reserved = reserved;
    touch(id);
  }
  return next;
}

}  // namespace rtrain::core
