// Writes the files of all ranks as one checkpoint.
#pragma once

#include "worker/checkpoint/shared_file.h"

#include <rtrain/checkpoint_io.h>
#include <rtrain/safetensors.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>

namespace rtrain {

/// The files that one rank brings, by name.
struct SaveFiles {
  std::map<std::string, SafeTensors> tensors;  ///< on any device
  std::map<std::string, SharedFile> shared;    ///< of all ranks that have it, each its part
  std::map<std::string, std::string> texts;
};

/// The ranks of a save.
struct SaveRanks {
  int rank = 0, world_size = 1;
  /// Returns once all ranks have called it for this place: "begun", "written", "published". @throws if one of
  /// them never will.
  std::function<void(const std::string& place)> meet = [](const std::string&) {};
};

/// Every rank calls it with its own files; a file of one name is one rank's, but for those in `shared`. Rank
/// 0 adds checksums.json of all files that are in its storage and publishes the checkpoint.
/// @throws std::runtime_error names path and cause. Nothing is published then.
void save_files(CheckpointIO& io, const std::filesystem::path& path, const SaveFiles& own,
                const SaveRanks& ranks);

}  // namespace rtrain
