// Models that are larger than the memory of a rank.
#pragma once

#include <rtrain/export.h>

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace rtrain {

namespace detail {
RTRAIN_API void build_without_memory(const std::function<void()>& build);
}  // namespace detail

/// Builds a model whose floating-point parameters have no memory yet: PyTorch's deferred initialisation,
/// without a meta device.
///
///    auto model = rtrain::born_sharded([&] { return std::make_shared<GPT>(config); });
///    trainer.fit(model, loader);  // FSDPStrategy or DeepSpeedStrategy
///
/// What initialises a parameter is written down, and done when the parameter is first read: by a strategy
/// that shards, unit by unit, so that no rank ever holds more than its part and one unit. The values, and the
/// random numbers that follow, are those of a model that is built as usual. A tensor that is read while the
/// model is built (item(), a copy into another tensor) gets its memory at once.
///
/// Without such a strategy the model is a model as any other: every parameter gets its memory when it is
/// read.
/// @param build returns the model. It runs on this thread, on the CPU. @throws what `build` throws.
template <std::invocable Build>
[[nodiscard]] std::invoke_result_t<Build> born_sharded(Build build) {
  std::invoke_result_t<Build> model{};
  detail::build_without_memory([&] { model = build(); });
  return model;
}

}  // namespace rtrain
