// The folder of one run of a logger that writes files: save_dir/name/version.
#pragma once

#include <rtrain/export.h>

#include <filesystem>
#include <optional>
#include <string>

namespace rtrain {

/// Lightning's layout. Nothing is created: the folder is decided when it is asked for the first time.
/// @thread one.
class RTRAIN_API RunFolder {
 public:
  /// @param name a folder of save_dir; empty: save_dir itself. @param version the folder below it. Left out:
  ///        in a job the run's name, which its next attempt has, too (the second logger of a process with the
  ///        same save_dir and name gets "<run>-1", in every attempt); else version_N, with the first N above
  ///        all that are there. @param sub_dir below the version; may be empty.
  RunFolder(std::filesystem::path save_dir, std::string name, std::optional<std::string> version,
            std::filesystem::path sub_dir = {});
  [[nodiscard]] const std::filesystem::path& save_dir() const { return save_dir_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& version() const;
  [[nodiscard]] std::filesystem::path path() const;
  /// Makes the folder. @throws std::runtime_error names `who`, the folder and the cause.
  std::filesystem::path create(const std::string& who) const;

 private:
  std::filesystem::path save_dir_;
  std::string name_;
  mutable std::optional<std::string> version_;
  std::filesystem::path sub_dir_;
};

}  // namespace rtrain
