#include <rtrain/metrics/sync.h>

#include "worker/metrics/store.h"
#include "worker/run/text_checksum.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

namespace rtrain {

using detail::MetricState;
using detail::MetricStore;

/// One call of sync_metrics().
struct MetricSyncing {
  using Reduce = Metric::Reduce;
  struct Part {  // a state of a metric
    std::size_t metric;
    std::string prefix;
    MetricStore* store;
    MetricState* state;
  };
  struct Unit {  // the states of one store
    std::size_t metric;
    std::string prefix;
    MetricStore* store;
    std::vector<std::int64_t> updates;  // by rank
  };

  MetricSync& sync;
  std::vector<Unit> units{};
  std::vector<Part> reduced{}, rows{}, merged{};
  std::string layout{};
  std::vector<MetricStates> results{};
  std::size_t world = 1;
  std::vector<std::vector<std::int64_t>>
      head{};  // by rank: [checksum, updates a unit, (rows, type) a kCat state]

  explicit MetricSyncing(MetricSync& given) : sync(given) {}

  void take(std::span<Metric* const> metrics) {
    results.resize(metrics.size());
    for (std::size_t m = 0; m < metrics.size(); ++m) {
      for (const auto& [prefix, store] : metrics[m]->stores()) {
        store->consolidate();
        units.push_back({m, prefix, store, {}});
        layout += metrics[m]->name() + "/" + prefix + ":";
        for (auto& state : store->states) {
          const Part part{m, prefix, store, &state};
          (state.reduce == Reduce::kCat     ? rows
           : state.reduce == Reduce::kMerge ? merged
                                            : reduced)
              .push_back(part);
          layout += state.name + "," + std::to_string(static_cast<int>(state.reduce)) + "," +
                    std::string(torch::toString(state.initial.scalar_type())) + ",";
          for (const auto size : state.initial.sizes()) layout += std::to_string(size) + "x";
          layout += ";";
        }
      }
    }
  }

  /// Ranks with a few metrics more or less still gather rows of one length, and find out.
  void exchange_head() {
    constexpr std::size_t kBlock = 256;
    std::vector<std::int64_t> own{static_cast<std::int64_t>(fnv1a(layout) >> 1)};
    for (const auto& unit : units) own.push_back(unit.store->updates);
    for (const auto& part : rows) {
      own.push_back(part.state->value.size(0));
      own.push_back(static_cast<std::int64_t>(part.state->value.scalar_type()));
    }
    own.resize((own.size() + kBlock - 1) / kBlock * kBlock);
    for (const auto& row : sync.all_gather(torch::tensor(own, torch::kInt64).to(sync.device()))) {
      const auto host = row.cpu().contiguous();
      head.emplace_back(host.const_data_ptr<std::int64_t>(),
                        host.const_data_ptr<std::int64_t>() + host.numel());
    }
    world = head.size();
    std::string others;
    for (std::size_t rank = 0; rank < world; ++rank)
      if (head[rank][0] != own[0]) others += (others.empty() ? "" : ", ") + std::to_string(rank);
    if (!others.empty())
      throw std::runtime_error(
          "the ranks' metrics differ: every rank must have the same metrics, made with the same options, in "
          "the "
          "same order; rank(s) " +
          others + " have others than these: " + layout);
    for (std::size_t u = 0; u < units.size(); ++u)
      for (std::size_t rank = 0; rank < world; ++rank) units[u].updates.push_back(head[rank][1 + u]);
    for (const auto& unit : units) {
      std::int64_t updates = 0;
      for (const auto count : unit.updates) updates += count;
      results[unit.metric][unit.prefix + detail::kUpdates] = torch::scalar_tensor(updates, torch::kInt64);
    }
  }

  void put(const Part& part, torch::Tensor value) {
    results[part.metric][part.prefix + part.state->name] = value.to(part.state->initial.device());
  }

  void reduce_all() {
    std::map<std::pair<torch::ScalarType, MetricSync::Op>, std::vector<const Part*>> buffers;
    for (const auto& part : reduced) {
      const auto op = part.state->reduce == Reduce::kMin   ? MetricSync::Op::kMin
                      : part.state->reduce == Reduce::kMax ? MetricSync::Op::kMax
                                                           : MetricSync::Op::kSum;
      buffers[{part.state->initial.scalar_type(), op}].push_back(&part);
    }
    for (const auto& [key, parts] : buffers) {
      std::vector<torch::Tensor> flat;
      for (const auto* part : parts) {
        auto value = part->state->value.detach().to(key.first).to(sync.device()).reshape({-1});
        if (part->state->reduce == Reduce::kMean) value = value * static_cast<double>(part->store->updates);
        flat.push_back(value.to(key.first));
      }
      auto buffer = torch::cat(flat);  // a copy: the states stay what they are
      sync.all_reduce(buffer, key.second);
      std::int64_t at = 0;
      for (const auto* part : parts) {
        const auto count = part->state->initial.numel();
        auto value = buffer.narrow(0, at, count).view(part->state->initial.sizes());
        at += count;
        if (part->state->reduce == Reduce::kMean) {
          const auto updates = results[part->metric].at(part->prefix + detail::kUpdates).item<double>();
          value = updates == 0 ? part->state->initial : (value / updates).to(key.first);
        }
        put(*part, value);
      }
    }
  }

  torch::ScalarType type_of_rows(std::size_t part) const {
    const auto at = 1 + units.size() + 2 * part;
    std::optional<torch::ScalarType> type;
    for (const auto& row : head) {
      if (row[at] == 0) continue;  // a rank without rows has no say
      const auto own = static_cast<torch::ScalarType>(row[at + 1]);
      type = type ? torch::promote_types(*type, own) : own;
    }
    return type.value_or(rows[part].state->initial.scalar_type());
  }

  void gather_rows() {
    std::map<torch::ScalarType, std::vector<std::size_t>> buffers;
    for (std::size_t i = 0; i < rows.size(); ++i) buffers[type_of_rows(i)].push_back(i);
    for (const auto& [type, parts] : buffers) {
      // The length of a row is the same on all ranks; the number of rows is not.
      const auto length = [&](std::size_t i, std::size_t rank) {
        std::int64_t row = 1;
        for (const auto size : rows[i].state->initial.sizes().slice(1)) row *= size;
        return row * head[rank][1 + units.size() + 2 * i];
      };
      std::int64_t longest = 0;
      for (std::size_t rank = 0; rank < world; ++rank) {
        std::int64_t all = 0;
        for (const auto i : parts) all += length(i, rank);
        longest = std::max(longest, all);
      }
      std::vector<std::vector<torch::Tensor>> found(parts.size());
      if (longest > 0) {
        std::vector<torch::Tensor> flat;
        std::int64_t own = 0;
        for (const auto i : parts) {
          flat.push_back(rows[i].state->value.detach().to(sync.device(), type).reshape({-1}));
          own += flat.back().numel();
        }
        flat.push_back(torch::zeros({longest - own}, torch::dtype(type).device(sync.device())));
        const auto gathered = sync.all_gather(torch::cat(flat));
        for (std::size_t rank = 0; rank < world; ++rank) {
          std::int64_t at = 0;
          for (std::size_t k = 0; k < parts.size(); ++k) {
            auto shape = rows[parts[k]].state->initial.sizes().vec();
            shape[0] = head[rank][1 + units.size() + 2 * parts[k]];
            const auto count = length(parts[k], rank);
            found[k].push_back(gathered[rank].narrow(0, at, count).view(shape));
            at += count;
          }
        }
      }
      for (std::size_t k = 0; k < parts.size(); ++k)
        put(rows[parts[k]], found[k].empty() ? rows[parts[k]].state->initial : torch::cat(found[k]));
    }
  }

  void gather_merged() {
    std::map<torch::ScalarType, std::vector<const Part*>> buffers;
    for (const auto& part : merged) buffers[part.state->initial.scalar_type()].push_back(&part);
    std::vector<std::vector<MetricStates>> of_rank(world, std::vector<MetricStates>(results.size()));
    for (const auto& [type, parts] : buffers) {
      std::vector<torch::Tensor> flat;
      for (const auto* part : parts)
        flat.push_back(part->state->value.detach().to(sync.device(), type).reshape({-1}));
      const auto gathered = sync.all_gather(torch::cat(flat));
      for (std::size_t rank = 0; rank < world; ++rank) {
        std::int64_t at = 0;
        for (const auto* part : parts) {
          const auto count = part->state->initial.numel();
          of_rank[rank][part->metric][part->prefix + part->state->name] =
              gathered[rank].narrow(0, at, count).view(part->state->initial.sizes());
          at += count;
        }
      }
    }
    for (const auto& unit : units) {
      MetricStore only;  // the kMerge states alone, which merge_states() puts together
      only.merge = unit.store->merge;
      for (const auto& state : unit.store->states)
        if (state.reduce == Reduce::kMerge) only.states.push_back(state);
      if (only.states.empty()) continue;
      MetricStates all;
      for (std::size_t rank = 0; rank < world; ++rank) {
        auto& own = of_rank[rank][unit.metric];
        own[unit.prefix + detail::kUpdates] = torch::scalar_tensor(unit.updates[rank], torch::kInt64);
        all = rank == 0 ? own : detail::merge_states(only, unit.prefix, all, own);
      }
      for (const auto& state : only.states)
        results[unit.metric][unit.prefix + state.name] =
            all.at(unit.prefix + state.name).to(state.initial.device());
    }
  }
};

std::vector<MetricStates> sync_metrics(std::span<Metric* const> metrics, MetricSync& sync) {
  if (metrics.empty()) return {};
  const torch::NoGradGuard no_grad;
  MetricSyncing syncing(sync);
  syncing.take(metrics);
  syncing.exchange_head();
  syncing.reduce_all();
  syncing.gather_rows();
  syncing.gather_merged();
  return std::move(syncing.results);
}

std::vector<MetricOutput> compute_synced(std::span<Metric* const> metrics, MetricSync& sync) {
  const auto states = sync_metrics(metrics, sync);
  std::vector<MetricOutput> outputs;
  for (std::size_t i = 0; i < metrics.size(); ++i) outputs.push_back(metrics[i]->compute(states[i]));
  return outputs;
}

}  // namespace rtrain
