// Zip archives as torch.save makes them: members that are stored, not compressed, in files of any size.
#pragma once

#include "common/os/new_file.h"
#include "common/os/open_file.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::tensors {

struct ZipMember {
  std::string name;
  std::uint64_t header = 0;  ///< where its local header stands
  std::uint64_t size = 0;
  std::uint32_t crc = 0;  ///< CRC-32 of its bytes
};

/// The directory of an archive. All errors are kIo and name the file.
class ZipFile {
 public:
  [[nodiscard]] static Result<ZipFile> open(std::shared_ptr<const os::OpenFile> file);
  [[nodiscard]] const std::vector<ZipMember>& members() const { return members_; }
  [[nodiscard]] const ZipMember* find(const std::string& name) const;  ///< null: there is none
  [[nodiscard]] const std::shared_ptr<const os::OpenFile>& file() const { return file_; }
  /// Where the bytes of a member begin in the file; its local header has to fit the directory.
  [[nodiscard]] Result<std::uint64_t> data_at(const ZipMember& member) const;
  /// Reads the member: whether its bytes have the CRC-32 of the directory.
  [[nodiscard]] Result<Done> check(const ZipMember& member) const;
  [[nodiscard]] Result<std::string> text(const ZipMember& member, std::uint64_t bytes_max) const;

 private:
  std::shared_ptr<const os::OpenFile> file_;
  std::vector<ZipMember> members_;
  std::map<std::string, std::size_t> by_name_;
};

/// Writes an archive member by member. The bytes of each begin at a multiple of 64, so that torch.load can
/// map them. What passes 4 GiB has fields of 64 bits (zip64).
class ZipWriter {
 public:
  [[nodiscard]] static Result<ZipWriter> create(const std::string& path);
  /// Begins a member of exactly `size` bytes, given by write() in pieces.
  [[nodiscard]] Result<Done> begin(const std::string& name, std::uint64_t size);
  [[nodiscard]] Result<Done> write(std::string_view bytes);
  [[nodiscard]] Result<Done> end();
  [[nodiscard]] Result<Done> add(const std::string& name, std::string_view bytes);
  /// The directory, and the file gets its name.
  [[nodiscard]] Result<Done> finish();

 private:
  explicit ZipWriter(std::unique_ptr<os::NewFile> file) : file_(std::move(file)) {}

  std::unique_ptr<os::NewFile> file_;
  std::vector<ZipMember> members_;
};

}  // namespace rtrain::tensors
