#include "worker/loops/batch_limit.h"

#include "worker/runtime/json.h"

#include <algorithm>
#include <stdexcept>

namespace rtrain {

std::string BatchCount::text() const {
  return is_fraction_ ? runtime::dump_json(fraction_) : std::to_string(batches_);
}

std::int64_t limited(const BatchCount& limit, std::int64_t batches, const std::string& option) {
  if (batches == 0) return 0;
  if (!limit.is_fraction()) return std::min(limit.batches(), batches);
  if (batches == kUnknownBatches) {
    if (limit.fraction() == 0.0 || limit.fraction() == 1.0) return limit.fraction() == 0.0 ? 0 : batches;
    throw std::invalid_argument(
        option + " is " + limit.text() +
        " of a stream whose length is not known: set 1.0, a number of batches, or give "
        "its IterableDataset a size()");
  }
  const auto count = static_cast<std::int64_t>(static_cast<double>(batches) * limit.fraction());
  if (count == 0 && limit.fraction() > 0) {
    throw std::invalid_argument(option + " is " + limit.text() + " of " + std::to_string(batches) +
                                " batches, which is less than one: set at least " +
                                runtime::dump_json(1.0 / static_cast<double>(batches)) +
                                ", or a number of batches");
  }
  return count;
}

std::string parts_of(const DataLoader& loader) {
  if (loader.is_stream()) return "a stream, batch_size " + std::to_string(loader.options().batch_size);
  if (loader.batch_sampler() != nullptr)
    return "a batch_sampler of " + std::to_string(loader.size()) + " batches";
  const auto& o = loader.options();
  return std::to_string(loader.sampler().size()) + " samples, batch_size " + std::to_string(o.batch_size) +
         (o.drop_last ? ", drop_last" : "");
}

}  // namespace rtrain
