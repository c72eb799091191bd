// A file that is written in pieces and appears whole or not at all.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace rtrain::os {

/// Written beside its place and renamed by commit(), never over another file. Without commit() nothing stays.
class NewFile {
 public:
  [[nodiscard]] static Result<std::unique_ptr<NewFile>> create(const std::string& path, unsigned mode = 0644);
  NewFile(int fd, std::string path, std::string temporary);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// At the end of the file.
  [[nodiscard]] Result<Done> write(std::string_view bytes);
  /// In place of what was written there before.
  [[nodiscard]] Result<Done> overwrite(std::uint64_t at, std::string_view bytes);
  /// fsync, rename, fsync of the folder. kConflict: something has taken the name meanwhile, and is left
  /// alone.
  [[nodiscard]] Result<Done> commit();

 private:
  int fd_;
  std::string path_, temporary_;  // temporary_ is "" once it has its name
  std::uint64_t size_ = 0;
};

}  // namespace rtrain::os
