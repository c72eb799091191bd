// A data set with transforms.
#pragma once

#include <rtrain/data/dataset.h>
#include <rtrain/data/transforms.h>
#include <rtrain/data/transforms/batch_transform.h>

#include <memory>

namespace rtrain::data {

/// `set` with `transform` applied to the input of each of its batches: for data sets that take no transform
/// themselves. Random transforms draw from the samples' generators (SampleContext), and without a loader from
/// those of seed 0 and epoch 0.
/// @throws std::invalid_argument if one is null; when a batch is read, if it has no input.
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> Transformed(
    std::shared_ptr<const Dataset> set, std::shared_ptr<const transforms::Transform> transform);
/// The same with a transform of whole batches, which draws from SampleContext::batch_generator(). It stands
/// outermost: `Transformed(Transformed(set, steps), MixUp(...))`.
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> Transformed(
    std::shared_ptr<const Dataset> set, std::shared_ptr<const transforms::BatchTransform> transform);

}  // namespace rtrain::data
