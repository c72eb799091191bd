// Files of a checkpoint with their checksums, which are computed from the bytes that are written or read
// anyway: no file is read twice.
#pragma once

#include "proto/tensors/checksums.h"
#include "worker/checkpoint/part_reader.h"

#include <rtrain/checkpoint_io.h>
#include <rtrain/safetensors.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace rtrain {

/// save_safetensors(), and what the file now has to be.
[[nodiscard]] tensors::Checksum save_summed(const std::filesystem::path& path, const SafeTensors& content);
/// The bytes of that file. @param path for errors.
[[nodiscard]] tensors::Checksum append_safetensors(const std::filesystem::path& path,
                                                   const SafeTensors& content,
                                                   const CheckpointDraft::Append& append);

/// load_safetensors() of a file that has to be `expected`; nullopt: that is not known.
/// @throws std::runtime_error as load_safetensors(); with both checksums when the file has another one.
[[nodiscard]] SafeTensors load_checked(const std::filesystem::path& path,
                                       const std::optional<tensors::Checksum>& expected);
/// @param path for errors.
[[nodiscard]] SafeTensors read_safetensors(CheckpointFile& file, const std::filesystem::path& path,
                                           const std::optional<tensors::Checksum>& expected);
/// All of a file. @throws std::runtime_error it has more than `bytes_max`.
[[nodiscard]] std::string read_text(CheckpointFile& file, const std::filesystem::path& path,
                                    std::uint64_t bytes_max);

/// @throws std::runtime_error with the file, what it is, what it has to be and the way out, unless `found` is
/// `expected`.
void require_same(const std::filesystem::path& path, const tensors::Checksum& expected,
                  const tensors::Checksum& found);

/// The files of a checkpoint, each held against its checksums.json as it is read. Of a checkpoint without one
/// nothing is known: versions before wrote none.
class CheckedFolder {
 public:
  /// Of the file system; a folder that is not there has no files. @throws std::runtime_error as all members:
  /// checksums.json is there and cannot be read.
  explicit CheckedFolder(std::filesystem::path path);
  /// @param folder not null. @param path for errors.
  CheckedFolder(std::unique_ptr<CheckpointFolder> folder, std::filesystem::path path);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Whether there is such a file. @throws std::runtime_error there is none, and checksums.json has it.
  [[nodiscard]] bool has(const std::string& file) const;
  /// The tensors of a safetensors file.
  [[nodiscard]] std::map<std::string, torch::Tensor> load(const std::string& file) const;
  /// The same by several ranks, each its part: the checksum is that of what all of them have read. Every rank
  /// of `readers` calls it. @throws also on the other ranks, where one could not read.
  [[nodiscard]] StateTree load_part(const std::string& file, const ChooseElements& choose,
                                    const PartReaders& readers) const;
  [[nodiscard]] std::string text(const std::string& file) const;

 private:
  [[nodiscard]] std::optional<tensors::Checksum> expected(const std::string& file) const;
  [[nodiscard]] std::unique_ptr<CheckpointFile> open(const std::string& file) const;

  std::unique_ptr<CheckpointFolder> folder_;
  std::filesystem::path path_;
  tensors::Checksums sums_;
};

}  // namespace rtrain
