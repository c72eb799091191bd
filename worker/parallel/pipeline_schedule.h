// In which order the ranks of a pipeline compute their micro-batches.
#pragma once

#include <rtrain/export.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::parallel {

enum class ScheduleKind : std::uint8_t { kGPipe, k1F1B, kInterleaved };

/// A pipeline of ranks * stages_a_rank stages. Rank r has the stages r, r + ranks, r + 2 * ranks, ..., which
/// are its numbers 0, 1, 2, ...
struct RTRAIN_API PipelineShape {
  int ranks = 1;
  int stages_a_rank = 1;  ///< more than 1 with kInterleaved only
  std::int64_t micro_batches = 1;
  [[nodiscard]] int stages() const { return ranks * stages_a_rank; }
};

/// What a rank does next. The messages are those between neighbouring stages: activations go up, gradients
/// down.
struct RTRAIN_API PipelineAction {
  enum class Kind : std::uint8_t {
    kReceiveActivation,
    kForward,
    kSendActivation,
    kReceiveGradient,
    kBackward,
    kSendGradient
  };
  Kind kind = Kind::kForward;
  int stage = 0;  ///< of this rank, in the whole pipeline
  std::int64_t micro_batch = 0;
  friend bool operator==(const PipelineAction&, const PipelineAction&) = default;
};

/// The actions of one rank in a training step. A receive blocks until its message is there, and stands
/// directly before what needs it; a send does not block, or until a buffer of one message is free. The
/// messages from one stage to another arrive in the order in which they are sent.
///
/// k1F1B: Narayanan et al., PipeDream-Flush (Megatron-LM's forward_backward_pipelining_without_interleaving):
/// a rank r begins with ranks - 1 - r forwards, and then alternates. kInterleaved: Narayanan et al. 2021,
/// Efficient Large-Scale Language Model Training, section 2.2.
/// @throws std::invalid_argument a number below 1, several stages a rank without kInterleaved, or
/// kInterleaved
///         with micro-batches that are no multiple of the ranks.
[[nodiscard]] RTRAIN_API std::vector<PipelineAction> pipeline_schedule(ScheduleKind kind,
                                                                       const PipelineShape& shape, int rank);
/// The forward of one batch through all stages.
[[nodiscard]] RTRAIN_API std::vector<PipelineAction> pipeline_forward(const PipelineShape& shape, int rank);

/// "gpipe", "1f1b", "interleaved". @throws std::invalid_argument another name (lists these).
[[nodiscard]] RTRAIN_API ScheduleKind schedule_kind(std::string_view name);

/// Cuts layers into so many stages that follow each other: none is empty, the most expensive one costs as
/// little as possible, and among such cuts the costs differ the least.
/// @param costs of the layers; at least as many as stages. @return for each stage the number of its first
/// layer, and the number of layers at the end.
[[nodiscard]] RTRAIN_API std::vector<std::size_t> cut_into_stages(const std::vector<double>& costs,
                                                                  int stages);

}  // namespace rtrain::parallel
