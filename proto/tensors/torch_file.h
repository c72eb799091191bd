// Files of torch.save (.pt, .pth, .ckpt): a zip archive of a pickle and of the storages of its tensors.
#pragma once

#include "proto/json.h"
#include "proto/tensors/pickle.h"
#include "proto/tensors/tensor.h"
#include "proto/tensors/zip_file.h"

#include <string>
#include <vector>

namespace rtrain::tensors {

struct TorchFile {
  ZipFile zip;
  Pickle pickle;
  std::vector<Tensor> tensors;  ///< those of the pickle, in its order, without names
};

/// kNotFound, or kIo with the file and what is wrong with it: the older format without a zip archive, a
/// TorchScript program, a pickle that holds objects, a storage that is missing or too short.
[[nodiscard]] Result<TorchFile> open_torch_file(const std::string& path);

/// Whether the file begins like a zip archive.
[[nodiscard]] bool looks_like_torch_file(const os::OpenFile& file);

/// A state_dict that torch.load(weights_only=True) reads, with mmap=True as well. Tensors with gaps become
/// contiguous, and what several share is written for each.
[[nodiscard]] Result<Done> write_torch_file(const std::string& path, const std::vector<Tensor>& tensors);

/// What such a file holds, as a checkpoint.
struct TorchContent {
  /// "state_dict", "model_state_dict" or "model" of the root, or what was asked for; "" the root's own
  /// tensors
  std::string weights_key;
  std::vector<Tensor> weights;
  std::vector<Tensor> rest;  ///< named by their path: "optimizer_states.0.state.0.exp_avg"
  /// All but the weights. A tensor is {"$tensor": its name}, bytes are {"$bytes": hexadecimal}.
  proto::Json plain = proto::Json::object();
  std::vector<std::string> unplain;  ///< paths in it that JSON tells in another way, with what they are
  std::size_t unplain_more = 0;      ///< that are not listed
};
/// @param key the dict of the weights: a key of the root, or keys joined by dots, "ema.model". "": the first
/// of
///        those above that holds tensors, else the root.
/// kIo: names that are too long or equal. kInvalidArgument: there is no dict with tensors under `key`; the
/// keys that have one are named.
[[nodiscard]] Result<TorchContent> content_of(const TorchFile& file, std::string_view key = {});

}  // namespace rtrain::tensors
