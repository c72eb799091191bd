// A file that is read in pieces, at places.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace rtrain::os {

/// Not mapped: a file that is cut while it is read is an error, not a signal.
class OpenFile {
 public:
  /// kNotFound; kIo when it cannot be opened or is no regular file.
  [[nodiscard]] static Result<std::shared_ptr<const OpenFile>> open(const std::string& path);
  OpenFile(int fd, std::string path, std::uint64_t size);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }  ///< when it was opened
  /// Fills `into` with what stands at `at`. kIo: the disk refuses, or the file ends before.
  [[nodiscard]] Result<Done> read(std::uint64_t at, std::span<char> into) const;
  [[nodiscard]] Result<std::string> text(std::uint64_t at, std::uint64_t size) const;

 private:
  int fd_;
  std::string path_;
  std::uint64_t size_;
};

/// All of a file that stands in a folder of others: never waits for the writer of a FIFO, as read_file()
/// does. kNotFound; kIo when it is no regular file; kLimit.
[[nodiscard]] Result<std::string> read_regular_file(const std::string& path, std::uint64_t bytes_max);

}  // namespace rtrain::os
