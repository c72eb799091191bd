// How a fit reads streams: where an epoch ends, and where one that is resumed goes on.
#include "worker/loops/fit_loop.h"

#include "worker/run/warn.h"
#include "worker/runtime/roll_call.h"

#include <torch/torch.h>

#include <algorithm>
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

/// Whether the epoch has a batch behind `taken`. Streams end where they end: ranks whose streams go on stop
/// together with the first that ends.
bool FitLoop::goes_on(BatchSource::Iterator& batches, std::int64_t taken) {
  const bool mine = taken < epoch_batches_ && (!data_.has_stream() || batches.has_next());
  auto& strategy = run_.strategy();
  if (!data_.has_stream() || !strategy.is_distributed()) return mine;
  std::vector<std::string> rows;
  bool all = true, any = false;
  for (const auto& row : strategy.all_gather(
           torch::tensor({std::int64_t{mine}}, torch::dtype(torch::kInt64).device(strategy.device())))) {
    const bool more = row.item<std::int64_t>() != 0;
    rows.emplace_back(more ? "more to come" : "ended");
    all = all && more;
    any = any || more;
  }
  if (any && !all && !std::exchange(warned_of_stream_end_, true))
    warn("fit: the streams of the ranks have different lengths. Epoch " + std::to_string(current_epoch()) +
         " ends after " + std::to_string(taken) +
         " batches on all ranks, because a stream has ended there (" + runtime::grouped_by_value(rows) +
         "); the samples left over are not seen in this epoch");
  return all;
}

/// A batch that was taken and not processed is taken again.
const nlohmann::json& FitLoop::stream_place() const {
  return batch_.current.ready > batch_.current.processed ? place_before_ : place_;
}

}  // namespace rtrain
