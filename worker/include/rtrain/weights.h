// Weights from files into a module, by name.
#pragma once

#include <rtrain/export.h>

#include <torch/nn/module.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace rtrain {

struct RTRAIN_API LoadWeightsOptions {
  /// takes only the file's names that begin with it, without it: "model."
  std::string prefix{};
  /// file's name (without the prefix) -> module's name. A name that ends in "." stands for all that begin
  /// with it: {{"transformer.", ""}}. The longest one counts. An empty name leaves a tensor out:
  /// {{"fc.weight", ""}}.
  std::map<std::string, std::string> rename{};
  /// false: names that only one side has are reported, and not an error. Shapes must be equal in any case.
  bool strict = true;
};

/// Names are in alphabetical order.
struct RTRAIN_API LoadedWeights {
  std::vector<std::string> loaded{};      ///< of the module
  std::vector<std::string> missing{};     ///< of the module, not in the file
  std::vector<std::string> unexpected{};  ///< of the file, renamed, not in the module
  /// "layer.weight: missing in the checkpoint", a line each; empty: everything fits.
  [[nodiscard]] std::string report() const;
};

/// Copies the weights of a file into the parameters and buffers of a module. Number types are converted.
/// @param path a .safetensors file, the index of several (model.safetensors.index.json), a folder with one of
///        the two (such as a checkpoint of rtrain), or a file of torch.save (.pt, .pth, .ckpt), of which the
///        "state_dict", "model_state_dict", "model" or the file itself is taken. Nothing in it is executed.
/// @throws std::runtime_error names path and fault, or lists all names that do not fit; nothing has changed
///         then.
RTRAIN_API LoadedWeights load_weights(torch::nn::Module& module, const std::filesystem::path& path,
                                      const LoadWeightsOptions& options = {});

}  // namespace rtrain
