#include <rtrain/weights.h>

#include "proto/tensors/shard_index.h"
#include "proto/tensors/torch_file.h"
#include "proto/tensors/trainer_folder.h"
#include "worker/checkpoint/checked_file.h"
#include "worker/checkpoint/module_state.h"
#include "worker/checkpoint/scalar_types.h"

#include <rtrain/safetensors.h>

#include <ATen/ops/empty.h>

#include <cstring>
#include <stdexcept>

namespace rtrain {
namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, torch::Tensor>;

[[noreturn]] void refuse(const fs::path& path, const std::string& why) {
  throw std::runtime_error(path.string() + ": " + why);
}

/// Hugging Face's model.safetensors.index.json.
/// @param has_model model.safetensors is beside it, and might be what is meant
Tensors read_index(const fs::path& path, bool has_model = false) {
  const auto index = tensors::read_shard_index(path.string());
  if (!index) throw std::runtime_error(index.error().message());
  const CheckedFolder folder(path.has_parent_path() ? path.parent_path() : ".");
  if (const auto twice = tensors::second_weights(*index, has_model); !twice.empty()) refuse(path, twice);
  Tensors all;
  for (const auto& file : index->files()) all.merge(folder.load(file));
  for (const auto& [name, file] : index->weight_map)
    if (!all.contains(name)) refuse(path, "weight_map: " + name + " is not in " + file);
  return all;
}

torch::Tensor read(const fs::path& path, const tensors::Tensor& from) {
  auto tensor = at::empty(from.shape, at::TensorOptions(files::scalar_type_of(*from.dtype)));
  auto* to = static_cast<char*>(tensor.mutable_data_ptr());
  for (tensors::TensorReader reader(from);;) {
    const auto piece = reader.next();
    if (!piece) refuse(path, from.name + ": " + piece.error().message());
    if (piece->empty()) return tensor;
    std::memcpy(to, piece->data(), piece->size());
    to += piece->size();
  }
}

Tensors read_torch_file(const fs::path& path) {
  const auto file = tensors::open_torch_file(path.string());
  if (!file) throw std::runtime_error(file.error().message());
  const auto content = tensors::content_of(*file);
  if (!content) throw std::runtime_error(content.error().message());
  if (const auto cost = tensors::check_cost(content->weights); !cost) refuse(path, cost.error().message());
  Tensors all;
  for (const auto& tensor : content->weights) all.emplace(tensor.name, read(path, tensor));
  return all;
}

Tensors read_weights(const fs::path& path) {
  if (fs::is_directory(path)) {
    for (const auto& within : {path, path / tensors::kReportedFolder}) {
      const CheckedFolder folder(within);
      if (fs::exists(within / tensors::kIndexFile))
        return read_index(within / tensors::kIndexFile, folder.has(tensors::kModelFile));
      if (folder.has(tensors::kModelFile)) return folder.load(tensors::kModelFile);
    }
    refuse(path,
           std::string("the folder has neither ") + tensors::kModelFile + " nor " + tensors::kIndexFile);
  }
  if (path.extension() == ".json") return read_index(path);
  if (path.extension() == ".safetensors") return load_safetensors(path).tensors;
  return read_torch_file(path);
}

/// Empty: the tensor is left out.
std::string renamed(const std::string& name, const std::map<std::string, std::string>& rename) {
  if (const auto whole = rename.find(name); whole != rename.end()) return whole->second;
  for (auto end = name.size(); (end = name.rfind('.', end)) != std::string::npos && end > 0; --end) {
    const auto found = rename.find(name.substr(0, end + 1));
    if (found != rename.end()) return found->second + name.substr(end + 1);
  }
  return name;
}

}  // namespace

std::string LoadedWeights::report() const {
  std::string text;
  for (const auto& name : missing) text += (text.empty() ? "" : "\n") + name + ": missing in the checkpoint";
  for (const auto& name : unexpected) text += (text.empty() ? "" : "\n") + name + ": not in the model";
  return text;
}

LoadedWeights load_weights(torch::nn::Module& module, const fs::path& path,
                           const LoadWeightsOptions& options) {
  StateTree saved;
  for (auto& [name, tensor] : read_weights(path)) {
    if (!name.starts_with(options.prefix)) continue;
    const auto own = renamed(name.substr(options.prefix.size()), options.rename);
    if (own.empty()) continue;
    if (!saved.emplace(own, std::move(tensor)).second)
      refuse(path, "two tensors would be called " + own + ": see LoadWeightsOptions::rename");
  }
  if (saved.empty() && !options.prefix.empty())
    refuse(path, "no tensor's name begins with \"" + options.prefix + "\"");
  try {
    return load_state(module, saved, options.strict);
  } catch (const std::runtime_error& error) {
    refuse(path, error.what());
  }
}

}  // namespace rtrain
