#include "worker/runtime/retention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace rtrain::runtime {
namespace {

/// Greater is better.
struct Score {
  bool present = false;
  double value = 0;
  std::int64_t index = 0;
  friend bool operator>(const Score& a, const Score& b) {
    if (a.present != b.present) return a.present;
    if (a.present && a.value != b.value) return a.value > b.value;
    return a.index > b.index;
  }
};

Score score_of(const proto::CheckpointRecord& checkpoint, const proto::CheckpointConfig& config) {
  Score score{.index = checkpoint.index};
  const auto found = config.checkpoint_score_attribute.empty()
                         ? checkpoint.metrics.end()
                         : checkpoint.metrics.find(config.checkpoint_score_attribute);
  double value = 0;
  if (found != checkpoint.metrics.end() && proto::json_number(*found, value) && !std::isnan(value)) {
    score.present = true;
    score.value = config.score_is_max ? value : -value;
  }
  return score;
}

}  // namespace

std::vector<proto::CheckpointRecord> by_score(std::vector<proto::CheckpointRecord> checkpoints,
                                              const proto::CheckpointConfig& config) {
  std::sort(checkpoints.begin(), checkpoints.end(),
            [&](const auto& a, const auto& b) { return score_of(a, config) > score_of(b, config); });
  return checkpoints;
}

bool can_rank(const std::vector<proto::CheckpointRecord>& checkpoints,
              const proto::CheckpointConfig& config) {
  const auto& attribute = config.checkpoint_score_attribute;
  double ignored = 0;
  return attribute.empty() ||
         std::any_of(checkpoints.begin(), checkpoints.end(), [&](const auto& checkpoint) {
           const auto found = checkpoint.metrics.find(attribute);
           return found != checkpoint.metrics.end() && proto::json_number(*found, ignored);
         });
}

std::vector<proto::CheckpointRecord> to_delete(const std::vector<proto::CheckpointRecord>& checkpoints,
                                               const proto::CheckpointConfig& config, const Pins& pins) {
  if (!config.num_to_keep || checkpoints.empty() || !can_rank(checkpoints, config)) return {};
  const auto best = by_score(checkpoints, config);
  std::set<std::int64_t> kept;
  for (std::size_t i = 0; i < best.size() && i < static_cast<std::size_t>(std::max(1, *config.num_to_keep));
       ++i)
    kept.insert(best[i].index);
  for (const auto& checkpoint : checkpoints)
    if (checkpoint.pinned() || pins.contains(checkpoint.path)) kept.insert(checkpoint.index);
  const auto older = [](const auto& a, const auto& b) { return a.index < b.index; };
  kept.insert(std::max_element(checkpoints.begin(), checkpoints.end(), older)->index);
  std::vector<proto::CheckpointRecord> dropped;
  for (const auto& checkpoint : checkpoints)
    if (!kept.contains(checkpoint.index)) dropped.push_back(checkpoint);
  std::sort(dropped.begin(), dropped.end(), older);
  return dropped;
}

std::vector<proto::CheckpointRecord> not_pinned(std::vector<proto::CheckpointRecord> dropped,
                                                const Pins& pins) {
  std::erase_if(dropped, [&](const auto& one) { return pins.contains(one.path); });
  return dropped;
}

std::vector<proto::CheckpointRecord> left_pinned(const std::vector<proto::CheckpointRecord>& kept,
                                                 const proto::CheckpointConfig& config, const Pins& pins) {
  std::vector<proto::CheckpointRecord> left;
  if (!config.num_to_keep) return left;
  for (const auto& path : pins)
    if (std::none_of(kept.begin(), kept.end(), [&](const auto& one) { return one.path == path; }))
      left.push_back({.path = path});
  return left;
}

}  // namespace rtrain::runtime
