#include "worker/parallel/pipeline_schedule.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

namespace rtrain::parallel {
namespace {

using Kind = PipelineAction::Kind;

/// The actions of one rank, with the messages around its forwards and backwards.
class ActionList {
 public:
  ActionList(const PipelineShape& shape, int rank) : shape_(shape), rank_(rank) {}

  /// @param own number of the stage on its rank.
  void forward(int own, std::int64_t micro_batch) {
    const int stage = stage_of(own);
    if (stage > 0) add(Kind::kReceiveActivation, stage, micro_batch);
    add(Kind::kForward, stage, micro_batch);
    if (stage + 1 < shape_.stages()) add(Kind::kSendActivation, stage, micro_batch);
  }
  void backward(int own, std::int64_t micro_batch) {
    const int stage = stage_of(own);
    if (stage + 1 < shape_.stages()) add(Kind::kReceiveGradient, stage, micro_batch);
    add(Kind::kBackward, stage, micro_batch);
    if (stage > 0) add(Kind::kSendGradient, stage, micro_batch);
  }
  [[nodiscard]] std::vector<PipelineAction> take() { return std::move(actions_); }

 private:
  [[nodiscard]] int stage_of(int own) const { return own * shape_.ranks + rank_; }
  void add(Kind kind, int stage, std::int64_t micro_batch) { actions_.push_back({kind, stage, micro_batch}); }

  PipelineShape shape_;
  int rank_;
  std::vector<PipelineAction> actions_;
};

void require_shape(ScheduleKind kind, const PipelineShape& shape, int rank) {
  if (shape.ranks < 1 || shape.stages_a_rank < 1 || shape.micro_batches < 1 || rank < 0 ||
      rank >= shape.ranks)
    throw std::invalid_argument(
        "a pipeline of " + std::to_string(shape.ranks) + " ranks with " +
        std::to_string(shape.stages_a_rank) + " stages each and " + std::to_string(shape.micro_batches) +
        " micro-batches: expected 1 or more of each, and a rank of them, not " + std::to_string(rank));
  if (kind != ScheduleKind::kInterleaved && shape.stages_a_rank > 1)
    throw std::invalid_argument("several stages a rank need the schedule \"interleaved\"");
  if (kind == ScheduleKind::kInterleaved && shape.micro_batches % shape.ranks != 0)
    throw std::invalid_argument("num_microbatches is " + std::to_string(shape.micro_batches) +
                                ", and the schedule \"interleaved\" needs a multiple of the " +
                                std::to_string(shape.ranks) + " ranks of the pipeline");
}

/// Forward or backward number k of a rank: micro-batches go through its first stage in groups of as many as
/// there are ranks, then the same through its second, and so on; backward through its last stage first.
struct Turn {
  int own;
  std::int64_t micro_batch;
};
Turn turn_of(const PipelineShape& shape, std::int64_t k) {
  const std::int64_t ranks = shape.ranks, of_group = ranks * shape.stages_a_rank;
  return {static_cast<int>(k % of_group / ranks), k / of_group * ranks + k % ranks};
}

std::int64_t warmup_of(ScheduleKind kind, const PipelineShape& shape, int rank) {
  const auto all = shape.micro_batches * shape.stages_a_rank;
  switch (kind) {
    case ScheduleKind::kGPipe: return all;
    case ScheduleKind::k1F1B: return std::min<std::int64_t>(all, shape.ranks - 1 - rank);
    case ScheduleKind::kInterleaved:
      return std::min<std::int64_t>(
          all, 2 * (shape.ranks - 1 - rank) + (shape.stages_a_rank - 1) * std::int64_t{shape.ranks});
  }
  return all;
}

}  // namespace

std::vector<PipelineAction> pipeline_schedule(ScheduleKind kind, const PipelineShape& shape, int rank) {
  require_shape(kind, shape, rank);
  const auto all = shape.micro_batches * shape.stages_a_rank;
  const auto warmup = warmup_of(kind, shape, rank);
  ActionList actions(shape, rank);
  // Only the interleaved order is one of groups; with one stage a rank a group would be the ranks.
  const auto turn = [&](std::int64_t k) { return shape.stages_a_rank == 1 ? Turn{0, k} : turn_of(shape, k); };
  const auto forward = [&](std::int64_t k) {
    const auto [own, micro_batch] = turn(k);
    actions.forward(own, micro_batch);
  };
  const auto backward = [&](std::int64_t k) {
    const auto [own, micro_batch] = turn(k);
    actions.backward(shape.stages_a_rank - 1 - own, micro_batch);
  };
  for (std::int64_t k = 0; k < warmup; ++k) forward(k);
  for (std::int64_t k = warmup; k < all; ++k) {
    forward(k);
    backward(k - warmup);
  }
  for (std::int64_t k = all - warmup; k < all; ++k) backward(k);
  return actions.take();
}

std::vector<PipelineAction> pipeline_forward(const PipelineShape& shape, int rank) {
  require_shape(ScheduleKind::kInterleaved, {shape.ranks, shape.stages_a_rank, shape.ranks}, rank);
  ActionList actions(shape, rank);
  for (int own = 0; own < shape.stages_a_rank; ++own) actions.forward(own, 0);
  return actions.take();
}

ScheduleKind schedule_kind(std::string_view name) {
  if (name == "gpipe") return ScheduleKind::kGPipe;
  if (name == "1f1b") return ScheduleKind::k1F1B;
  if (name == "interleaved") return ScheduleKind::kInterleaved;
  throw std::invalid_argument("schedule is \"" + std::string(name) +
                              R"(", expected "1f1b", "interleaved" or "gpipe")");
}

std::vector<std::size_t> cut_into_stages(const std::vector<double>& costs, int stages) {
  const auto layers = costs.size(), count = static_cast<std::size_t>(stages);
  if (stages < 1 || layers < count)
    throw std::invalid_argument(std::to_string(layers) + " layers cannot be cut into " +
                                std::to_string(stages) + " stages");
  constexpr auto kNever = std::numeric_limits<double>::infinity();
  std::vector<double> sums(layers + 1, 0);
  for (std::size_t i = 0; i < layers; ++i) sums[i + 1] = sums[i] + costs[i];
  // The first `end` layers in s stages: {the most expensive stage, the sum of squares}.
  using Price = std::pair<double, double>;
  std::vector<std::vector<Price>> best(count + 1, std::vector<Price>(layers + 1, {kNever, kNever}));
  std::vector<std::vector<std::size_t>> from(count + 1, std::vector<std::size_t>(layers + 1, 0));
  best[0][0] = {0, 0};
  for (std::size_t s = 1; s <= count; ++s)
    for (std::size_t end = s; end <= layers; ++end)
      for (std::size_t begin = s - 1; begin < end; ++begin) {
        const auto& before = best[s - 1][begin];
        const double own = sums[end] - sums[begin];
        const Price price{std::max(before.first, own), before.second + own * own};
        if (price >= best[s][end]) continue;
        best[s][end] = price;
        from[s][end] = begin;
      }
  std::vector<std::size_t> cuts(count + 1, layers);
  for (std::size_t s = count; s > 0; --s) cuts[s - 1] = from[s][cuts[s]];
  return cuts;
}

}  // namespace rtrain::parallel
