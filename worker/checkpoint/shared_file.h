// One safetensors file that several ranks write together, each its own bytes.
#pragma once

#include <rtrain/checkpoint_io.h>
#include <rtrain/state_tree.h>

#include <filesystem>
#include <map>
#include <string>

namespace rtrain {

/// What one rank brings. Every rank has every name: a part that is empty is one, too.
struct SharedFile {
  StateTree tensors;                            ///< on any device
  std::map<std::string, std::string> metadata;  ///< the same on every rank
};

/// Rank 0, before the others: makes the file with its header.
/// @param path for errors. @throws std::runtime_error names path and cause.
void begin_shared_file(CheckpointDraft& draft, const std::string& name, const std::filesystem::path& path,
                       const SharedFile& file);
/// Every rank, once the file is there: writes the elements that it has. What every rank has is rank 0's
/// to write. Durable when it returns.
/// @param wholes true on rank 0. @throws std::runtime_error the file is not there (the storage is another
/// one), or has another header than this rank would write.
void write_shared_file(CheckpointDraft& draft, const std::string& name, const std::filesystem::path& path,
                       const SharedFile& file, bool wholes);

}  // namespace rtrain
