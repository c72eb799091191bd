// A module from a checkpoint: Lightning's load_from_checkpoint().
#pragma once

#include <rtrain/trainer.h>

#include <concepts>
#include <memory>
#include <utility>

namespace rtrain {

namespace detail {
[[nodiscard]] RTRAIN_API TrainerCheckpoint read_for_module(const std::filesystem::path& path);
RTRAIN_API void load_into(LightningModule& module, const TrainerCheckpoint& content);
/// Converts to hyperparameters and to nothing else, as an object of JSON would to a number.
struct OnlyHyperparameters {
  operator const nlohmann::json&() const;  // NOLINT: implicit on purpose
};
}  // namespace detail

/// Builds an M with the arguments given, or else from the checkpoint's hyperparameters if M has a constructor
/// M(const nlohmann::json& hparams), or else without arguments; calls its on_load_checkpoint(), and loads its
/// weights, as its strict_loading() says. It is on the CPU, in training mode.
/// @param path a checkpoint of the Trainer, or a reported one; get_checkpoint() gives the job's latest.
/// @throws std::runtime_error names path and fault, or lists all names that do not fit; what M's constructor
///         throws.
template <std::derived_from<LightningModule> M, class... Args>
[[nodiscard]] std::shared_ptr<M> load_from_checkpoint(const CheckpointPath& path, Args&&... arguments) {
  constexpr bool from_hparams = std::constructible_from<M, detail::OnlyHyperparameters>;
  static_assert(sizeof...(Args) > 0 || from_hparams || std::default_initializable<M>,
                "load_from_checkpoint<M>(path, arguments): give the arguments of M's constructor, or M a "
                "constructor that takes the hyperparameters, M(const nlohmann::json&)");
  const auto content = detail::read_for_module(path.path());
  std::shared_ptr<M> module;
  if constexpr (sizeof...(Args) > 0)
    module = std::make_shared<M>(std::forward<Args>(arguments)...);
  else if constexpr (from_hparams)
    module = std::make_shared<M>(content.loop.value("hyper_parameters", nlohmann::json::object()));
  else if constexpr (std::default_initializable<M>)
    module = std::make_shared<M>();
  detail::load_into(*module, content);
  return module;
}

}  // namespace rtrain
