// Where a new checkpoint goes: whole or not at all, and never over another.
#pragma once

#include "common/base/result.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace rtrain::cli {

struct OutputPath {
  std::filesystem::path path;  ///< without a "/" at its end
  bool is_folder = false;      ///< it ends in "/", or is an empty folder
  bool is_taken = false;       ///< something is there, and no empty folder
};
[[nodiscard]] OutputPath output_path(const std::string& given);
/// kInvalidArgument: is_taken.
[[nodiscard]] Result<Done> require_free(const OutputPath& out);

/// Runs what writes an output. A signal to end (Ctrl-C) that comes meanwhile ends it when what is half
/// written is removed: the exit status is 128 + its number then.
[[nodiscard]] Result<int> write_output(const std::function<Result<int>()>& write);

/// Copies a file's bytes, piece by piece. kIo: `from` is no regular file, or a disk refuses.
[[nodiscard]] Result<Done> copy_new_file(const std::filesystem::path& from, const std::filesystem::path& to);

/// Has `fill` write into a folder beside `out`, adds checksums.json, and gives the folder its name.
[[nodiscard]] Result<Done> write_checkpoint_folder(
    const std::filesystem::path& out,
    const std::function<Result<Done>(const std::filesystem::path& partial)>& fill);

}  // namespace rtrain::cli
