// Reads a tar archive from front to back.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace rtrain::data {

/// Regular files of an archive in the formats ustar, pax and GNU (long names), plain or gzipped. What else
/// stands in it (folders, links) is passed over.
/// https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
class TarReader {
 public:
  /// @throws SampleError it cannot be opened. Errors name the archive.
  explicit TarReader(const std::string& path);
  ~TarReader();
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  struct Member {
    std::string name;
    std::uint64_t size = 0;
  };
  /// The next file; std::nullopt at the end. What content() has not read of the one before is passed over.
  /// @throws SampleError the archive is damaged, or ends too early.
  [[nodiscard]] std::optional<Member> next();
  /// The bytes of the file that next() gave.
  [[nodiscard]] std::string content();

 private:
  [[noreturn]] void fail(const std::string& why) const;
  [[nodiscard]] std::size_t read(void* into, std::size_t size);
  void read_all(void* into, std::size_t size);
  void pass(std::uint64_t size);
  [[nodiscard]] std::string text(std::uint64_t size);

  std::string path_;
  gzFile file_ = nullptr;
  std::uint64_t left_ = 0, padding_ = 0;  ///< of the file that next() gave
};

}  // namespace rtrain::data
