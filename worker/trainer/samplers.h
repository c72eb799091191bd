// The samplers that the Trainer injects into a loader that several ranks read.
#pragma once

#include <rtrain/data/data_loader.h>
#include <rtrain/data/sampler.h>

#include <memory>

namespace rtrain {

/// A DistributedSampler over the data set, or over the order of the loader's own sampler if the user gave one
/// of another kind.
[[nodiscard]] std::shared_ptr<Sampler> own_part(const DataLoader& loader,
                                                const DistributedSamplerOptions& options);
/// indices[rank::world_size] of the loader's own order, without repetition: for predictions.
[[nodiscard]] std::shared_ptr<Sampler> own_part_without_padding(const DataLoader& loader, int world_size,
                                                                int rank);

/// Every world_size-th batch of the loader's batch_sampler, from batch number `rank` on.
/// @param pad ranks that would have one batch less begin again with the first ones, so that all have equally
///        many.
[[nodiscard]] std::shared_ptr<BatchSampler> own_batches(const DataLoader& loader, int world_size, int rank,
                                                        bool pad);

}  // namespace rtrain
