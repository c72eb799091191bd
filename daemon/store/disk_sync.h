// What makes files outlast a power cut, in one place: a test sees what was forced to the disk, and when.
#pragma once

#include "common/base/result.h"

#include <string>

namespace rtrain::store {

/// Errors: kIo; kLimit, when a folder cannot be opened for a lack of file descriptors.
class DiskSync {
 public:
  virtual ~DiskSync() = default;
  /// What was written into an open file.
  [[nodiscard]] virtual Result<Done> file(int fd, const std::string& path) = 0;
  /// The entries of a folder.
  [[nodiscard]] virtual Result<Done> folder(const std::string& path) = 0;
  /// Everything on the file system of a folder.
  [[nodiscard]] virtual Result<Done> file_system(const std::string& path) = 0;
};

/// fdatasync(), fsync(), syncfs(). @thread any
[[nodiscard]] DiskSync& forced_to_disk();
/// Nothing is forced: a power cut may lose it all. @thread any
[[nodiscard]] DiskSync& left_to_the_system();

}  // namespace rtrain::store
