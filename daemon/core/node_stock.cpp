#include "daemon/core/node_stock.h"

#include <algorithm>
#include <cmath>

namespace rtrain::core {

namespace {
/// More than anybody asks for: capacities are added up over all nodes.
constexpr double kCapacityMax = 1 << 20;
}  // namespace

int ResourceNames::number(const std::string& name) {
  const auto [found, is_new] = numbers_.try_emplace(name, static_cast<int>(names_.size()));
  if (is_new) names_.push_back(name);
  return found->second;
}

Amounts amounts_of(const proto::Resources& resources, ResourceNames& names) {
  Amounts need;
  for (const auto& [name, amount] : resources) {
    need.each.emplace_back(names.number(name), amount);
    if (name == "GPU") need.gpus = amount;
  }
  return need;
}

Stock::Stock(const NodeView& view, ResourceNames& names, bool idle) {
  for (const auto& [name, amount] : view.info.resources) add(names.number(name), amount);
  if (!idle)
    for (const auto& [name, amount] : view.used) add(names.number(name), -amount);
  for (const auto& gpu : view.info.gpus) {
    if (view.gpus_out.contains(gpu.index)) continue;
    double free = 1;
    if (!idle && view.gpus_used.contains(gpu.index)) {
      const auto shared = view.gpu_shares.find(gpu.index);
      free = shared == view.gpu_shares.end() ? 0 : 1 - shared->second;
    }
    gpus_.push_back({gpu.index, free});
    if (free > 1 - kSlack) ++whole_;
  }
  std::ranges::sort(gpus_, {}, &Gpu::index);
}

int Stock::capacity(const Amounts& need) const {
  double workers = kCapacityMax;
  for (const auto& [resource, amount] : need.each)
    workers = std::min(workers, std::floor((this->amount(resource) + kSlack) / amount));
  if (need.gpus >= 1)
    workers = std::min(workers, std::floor(whole_ / need.gpus));
  else if (need.gpus > 0) {
    double shares = 0;
    for (const auto& gpu : gpus_) shares += std::floor((std::max(gpu.free, 0.0) + kSlack) / need.gpus);
    workers = std::min(workers, shares);
  }
  return static_cast<int>(std::clamp(workers, 0.0, kCapacityMax));
}

std::vector<int> Stock::take(const Amounts& need, int workers) {
  std::vector<int> taken;
  if (need.gpus > 0 && need.gpus < 1) {
    for (int worker = 0; worker < workers; ++worker) {
      const Gpu* best = nullptr;
      for (const auto& gpu : gpus_)
        if (gpu.free + kSlack >= need.gpus && (best == nullptr || gpu.free < best->free - kSlack))
          best = &gpu;
      if (best == nullptr) break;
      taken.push_back(best->index);
      change(need, 1, {best->index}, -1);
    }
    return taken;
  }
  const double wanted = need.gpus * workers;
  for (const auto& gpu : gpus_)
    if (static_cast<double>(taken.size()) < wanted && gpu.free > 1 - kSlack) taken.push_back(gpu.index);
  change(need, workers, taken, -1);
  return taken;
}

double Stock::amount(int resource) const {
  const auto at = static_cast<std::size_t>(resource);
  return at < amounts_.size() ? amounts_[at] : 0;
}

void Stock::add(int resource, double amount) {
  const auto at = static_cast<std::size_t>(resource);
  if (at >= amounts_.size()) amounts_.resize(at + 1, 0);
  amounts_[at] += amount;
}

void Stock::change(const Amounts& need, int workers, const std::vector<int>& gpus, double sign) {
  for (const auto& [resource, amount] : need.each) add(resource, sign * workers * amount);
  const double share = need.gpus > 0 && need.gpus < 1 ? need.gpus : 1;
  for (const int index : gpus) {
    const auto gpu = std::ranges::lower_bound(gpus_, index, {}, &Gpu::index);
    if (gpu == gpus_.end() || gpu->index != index) continue;  // out of service by now
    if (gpu->free > 1 - kSlack) --whole_;
    gpu->free += sign * share;
    if (std::abs(gpu->free) < kSlack) gpu->free = 0;
    if (gpu->free > 1 - kSlack) ++whole_;
  }
}

}  // namespace rtrain::core
