// Which checkpoints a job keeps: num_to_keep, Ray Train's rules. Pure.
#pragma once

#include "proto/jobspec/jobspec.h"
#include "proto/message/types.h"

#include <set>
#include <vector>

namespace rtrain::runtime {

/// Best first: by checkpoint_score_attribute in checkpoint_score_order, the newer of two equals first; those
/// without the attribute (or NaN) last, newest first. Without an attribute: newest first.
[[nodiscard]] std::vector<proto::CheckpointRecord> by_score(std::vector<proto::CheckpointRecord> checkpoints,
                                                            const proto::CheckpointConfig& config);
/// True when checkpoint_score_attribute is set and some checkpoint has it (NaN counts), or when it is not
/// set: there is an order to keep the best by.
[[nodiscard]] bool can_rank(const std::vector<proto::CheckpointRecord>& checkpoints,
                            const proto::CheckpointConfig& config);
/// Paths of checkpoints that other jobs are to go on from.
using Pins = std::set<std::string>;
/// Those to delete: all but the num_to_keep best, the newest, which is always kept (a restart needs it),
/// those that are being validated, and those that are pinned. In order of age. None while they cannot be
/// ranked: the best could be among them.
[[nodiscard]] std::vector<proto::CheckpointRecord> to_delete(
    const std::vector<proto::CheckpointRecord>& checkpoints, const proto::CheckpointConfig& config,
    const Pins& pins = {});
/// Of those that were to be deleted the ones that nobody has pinned since.
[[nodiscard]] std::vector<proto::CheckpointRecord> not_pinned(std::vector<proto::CheckpointRecord> dropped,
                                                              const Pins& pins);
/// Pinned ones that an earlier attempt had told the head to be deleted: they are to be deleted when they are
/// not pinned any more. `kept`: the checkpoints of the job that the head knows. None without num_to_keep.
[[nodiscard]] std::vector<proto::CheckpointRecord> left_pinned(
    const std::vector<proto::CheckpointRecord>& kept, const proto::CheckpointConfig& config,
    const Pins& pins);

}  // namespace rtrain::runtime
