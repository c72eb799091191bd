// Files of a checkpoint with their checksums, which are computed from the bytes that are written or read
// anyway: no file is read twice.
#pragma once

#include "proto/tensors/checksums.h"

#include <rtrain/safetensors.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace rtrain {

/// save_safetensors(), and what the file now has to be.
[[nodiscard]] tensors::Checksum save_summed(const std::filesystem::path& path, const SafeTensors& content);

/// load_safetensors() of a file that has to be `expected`; nullopt: that is not known.
/// @throws std::runtime_error as load_safetensors(); with both checksums when the file has another one.
[[nodiscard]] SafeTensors load_checked(const std::filesystem::path& path,
                                       const std::optional<tensors::Checksum>& expected);

/// @throws std::runtime_error with the file, what it is, what it has to be and the way out, unless `found` is
/// `expected`.
void require_same(const std::filesystem::path& path, const tensors::Checksum& expected,
                  const tensors::Checksum& found);

/// The files of a checkpoint's folder, each held against the folder's checksums.json as it is read. Of a
/// folder without one nothing is known: versions before wrote none.
class CheckedFolder {
 public:
  /// @throws std::runtime_error as all members: checksums.json is there and cannot be read.
  explicit CheckedFolder(std::filesystem::path path);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Whether there is such a file. @throws std::runtime_error there is none, and checksums.json has it.
  [[nodiscard]] bool has(const std::string& file) const;
  /// The tensors of a safetensors file.
  [[nodiscard]] std::map<std::string, torch::Tensor> load(const std::string& file) const;
  [[nodiscard]] std::string text(const std::string& file) const;

 private:
  [[nodiscard]] std::optional<tensors::Checksum> expected(const std::string& file) const;

  std::filesystem::path path_;
  tensors::Checksums sums_;
};

}  // namespace rtrain
