// The bytes of a file, read or mapped.
#pragma once

#include <rtrain/export.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace rtrain::data {

/// All of a file. @throws SampleError says why it cannot be read, without the path.
[[nodiscard]] std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path);

/// A file that is read where it is touched. @thread any number of readers. The file must not become shorter
/// while it is mapped: reading what is gone ends the process (SIGBUS).
class MappedFile {
 public:
  enum class Access {
    kRead,         ///< writing ends the process
    kCopyOnWrite,  ///< what is written stays in memory
  };
  /// @throws std::runtime_error names the path.
  explicit MappedFile(const std::filesystem::path& path, Access access = Access::kRead);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return {data_, size_}; }

 private:
  const std::uint8_t* data_ = nullptr;  ///< null: empty
  std::size_t size_ = 0;
};

}  // namespace rtrain::data
