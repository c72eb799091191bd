// How a fit reads streams: where an epoch ends, and where one that is resumed goes on.
#include "worker/loops/fit_loop.h"

#include "worker/run/warn.h"
#include "worker/runtime/roll_call.h"

#include <torch/torch.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

/// What is left of the epoch.
BatchSource::Iterator FitLoop::open_data() {
  const auto epoch = run_.epochs.current.processed;
  const auto first = std::min(batches_of_part(), epoch_batches_ - part_.first_batch);
  auto batches = place_.is_null() ? data_.epoch(epoch, first) : data_.resume(epoch, first, place_);
  if (data_.has_stream()) place_before_ = place_ = batches.save_state();
  return batches;
}

/// What a rank without a batch cannot do with the others.
void FitLoop::require_joinable() const {
  if (epoch_end() == EpochEnd::kFirst) return;
  std::string problems;
  if (!run_.automatic) problems += "\n  automatic_optimization is false";
  if (run_.options.sync_batchnorm) problems += "\n  sync_batchnorm is true";
  if (!problems.empty())
    throw std::invalid_argument(
        "fit: DDPOptions::join lets ranks whose stream has ended take part in steps whose order it knows; "
        "these options make collectives of their own:" +
        problems + "\nleave them, or join, out");
}

std::int64_t FitLoop::most_of_ranks(std::int64_t own) const {
  auto& strategy = run_.strategy();
  auto most = torch::tensor({own}, torch::dtype(torch::kInt64).device(strategy.device()));
  strategy.reduce(most, Strategy::Reduce::kMax);
  return most.item<std::int64_t>();
}

/// Whether the epoch has a batch behind `taken`. Streams end where they end: ranks whose streams go on stop
/// together with the first that ends, or the others take part in their steps, or those that have ended begin
/// theirs again until the last one has.
bool FitLoop::goes_on(BatchSource::Iterator& batches, std::int64_t taken, EpochEnd end) {
  const bool mine = taken < epoch_batches_ && (!data_.has_stream() || batches.has_next());
  auto& strategy = run_.strategy();
  if (!data_.has_stream() || !strategy.is_distributed()) return mine;
  const bool pads = data_.pads();
  const bool more_to_see = mine && !(pads && batches.has_begun_again());
  std::vector<std::string> rows;
  Turn turn{.has_batch = mine, .ranks = {.count = 0, .first = -1}};
  for (const auto& row : strategy.all_gather(torch::tensor(
           {std::int64_t{more_to_see}}, torch::dtype(torch::kInt64).device(strategy.device())))) {
    const bool more = row.item<std::int64_t>() != 0;
    if (more && turn.ranks.first < 0) turn.ranks.first = static_cast<int>(rows.size());
    if (more) ++turn.ranks.count;
    rows.emplace_back(more ? "more to come" : "ended");
  }
  const bool all = turn.ranks.count == static_cast<int>(rows.size()), any = turn.ranks.count > 0;
  if (end == EpochEnd::kLast) {
    if (any && !all && (taken == 0 || run_.plan->join()->throw_on_early_termination))
      throw std::runtime_error(
          "fit: the streams of the ranks have different lengths: after " + std::to_string(taken) +
          " batches of epoch " + std::to_string(current_epoch()) + ", " + runtime::grouped_by_value(rows) +
          (taken == 0 ? "; DDPOptions::join needs a batch of each rank" : " (throw_on_early_termination)"));
    turn_ = turn;
    return any;
  }
  if (any && !all && !std::exchange(warned_of_stream_end_, true))
    warn("fit: the streams of the ranks have different lengths. " +
         (pads
              ? "A stream has ended after " + std::to_string(taken) + " batches of epoch " +
                    std::to_string(current_epoch()) + " (" + runtime::grouped_by_value(rows) +
                    "): ranks that are through read theirs again until the last one is, so that some samples "
                    "are seen twice in this epoch"
              : "Epoch " + std::to_string(current_epoch()) + " ends after " + std::to_string(taken) +
                    " batches on all ranks, because a stream has ended there (" +
                    runtime::grouped_by_value(rows) +
                    "); the samples left over are not seen in this epoch (DDPOptions::join uses them, "
                    "StreamEnd::kPad "
                    "sees others twice for them)"));
  if (!pads) return all;
  if (any && !mine) pad(batches);
  return any;
}

void FitLoop::pad(BatchSource::Iterator& batches) const {
  batches.begin_again();
  if (!batches.has_next())
    throw std::runtime_error(
        "fit: the stream of this rank gives no batch, so there is nothing to pad epoch " +
        std::to_string(current_epoch()) + " with (" + data_.parts() + ")");
}

/// A batch that was taken and not processed is taken again.
const nlohmann::json& FitLoop::stream_place() const {
  return batch_.current.ready > batch_.current.processed ? place_before_ : place_;
}

}  // namespace rtrain
