// A checkpoint at a path, of whatever kind: what its files hold, without the numbers. No LibTorch here.
#pragma once

#include "common/base/result.h"
#include "proto/json.h"
#include "proto/tensors/safetensors_file.h"
#include "proto/tensors/shard_index.h"
#include "proto/tensors/tensor.h"
#include "proto/tensors/trainer_folder.h"

#include <map>
#include <string>
#include <vector>

namespace rtrain::cli {

using tensors::kIndexFile;
using tensors::kModelFile;
/// What a converted file held beside its weights.
inline constexpr const char* kRestFile = "rest.json";
inline constexpr const char* kRestTensorsFile = "rest.safetensors";

enum class CheckpointKind {
  kTrainer,      ///< a folder of Trainer: model.safetensors, loop.json, ...
  kSafetensors,  ///< a file, or a folder of such files
  kSharded,      ///< files that model.safetensors.index.json names
  kTorch,        ///< a file of torch.save, a checkpoint of Lightning among them
  kFiles,        ///< a reported folder of other files, of which checksums.json tells
};
[[nodiscard]] std::string_view to_string(CheckpointKind kind);

/// Tensors that are told together.
struct TensorGroup {
  std::string file;      ///< below the checkpoint's folder: "optimizer.safetensors"
  bool weights = false;  ///< of the model, rather than of its training
  std::vector<tensors::Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

struct CheckpointFiles {
  std::string path;      ///< that of the files: <reported>/checkpoint.ckpt
  std::string reported;  ///< the folder around it; "": it is none of a report
  CheckpointKind kind = CheckpointKind::kSafetensors;
  bool is_folder = false;
  std::string key;                 ///< kTorch: the dict of the weights, see tensors::content_of()
  std::vector<std::string> files;  ///< of tensors, below `path`; of a file its own name
  std::string index = kIndexFile;  ///< the name of the index that is read
  std::map<std::string, std::string> weight_map;  ///< what it says: tensor -> file
  std::vector<std::string> indexed;               ///< those of `files` that it names
  std::vector<std::string> strays;  ///< files of weights that it does not name, in a Trainer's folder
  std::vector<TensorGroup> groups;
  proto::Json plain = proto::Json::object();  ///< loop.json, or what a file of torch.save held beside weights
  std::vector<std::string> unplain;           ///< what JSON tells in another way than the file
  std::size_t unplain_more = 0;

  [[nodiscard]] std::vector<tensors::Tensor> weights() const;
  [[nodiscard]] std::string file_path(const std::string& file) const;
};

/// What checkpoint is meant by a path, before its files are read: `path` and `kind`, and `files` by what the
/// folder lists. kNotFound; kIo when nothing there is known.
[[nodiscard]] Result<CheckpointFiles> find_checkpoint(const std::string& path);
/// The same with everything read but the numbers. The first file that is damaged is named. kInvalidArgument:
/// there are no weights under `key`.
[[nodiscard]] Result<CheckpointFiles> open_checkpoint(const std::string& path, const std::string& key = "");

/// What a checkpoint holds beside its weights, in a few words each.
[[nodiscard]] std::vector<std::string> rest_of(const CheckpointFiles& checkpoint);

/// Before a copy of it is made: an index and its files, and what checksums.json says, hold. Reads the files.
/// kIo names the first file that is damaged.
[[nodiscard]] Result<Done> require_whole(const CheckpointFiles& checkpoint);

/// One file of a checkpoint, as open_checkpoint() reads it.
[[nodiscard]] Result<Done> read_tensor_file(CheckpointFiles& checkpoint, const std::string& file);
/// The loop.json of a Trainer's folder, the rest.json of a converted one; null where there is none.
[[nodiscard]] Result<proto::Json> read_plain(const CheckpointFiles& checkpoint);

}  // namespace rtrain::cli
