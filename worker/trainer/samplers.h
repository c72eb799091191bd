// The samplers that the Trainer puts under a loader when several ranks read it.
#pragma once

#include <rtrain/data/data_loader.h>
#include <rtrain/data/sampler.h>

#include <memory>

namespace rtrain {

/// A DistributedSampler over the data set; over the loader's own order when the user gave a sampler of
/// another kind.
[[nodiscard]] std::shared_ptr<Sampler> own_part(const DataLoader& loader,
                                                const DistributedSamplerOptions& options);
/// indices[rank::world_size] of the loader's own order, nothing repeated: for predictions.
[[nodiscard]] std::shared_ptr<Sampler> own_part_without_padding(const DataLoader& loader, int world_size,
                                                                int rank);

}  // namespace rtrain
