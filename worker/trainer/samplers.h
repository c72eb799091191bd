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

}  // namespace rtrain
