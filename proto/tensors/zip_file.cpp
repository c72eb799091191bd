#include "proto/tensors/zip_file.h"

#include "common/base/clip.h"
#include "proto/tensors/little_endian.h"
#include "proto/tensors/zip_layout.h"

#include <zlib.h>

#include <algorithm>
#include <optional>

namespace rtrain::tensors {
namespace {

using namespace zip;

constexpr std::uint64_t kDirectoryBytesMax = 256u << 20;
constexpr std::uint64_t kCommentBytesMax = 65'535;

struct Directory {
  std::uint64_t at = 0, bytes = 0, members = 0;
};

/// Errors without the file's name; open() adds it.
Error broken(const std::string& why) { return fail(Errc::kIo, why); }

/// From the last record of the file, and from the wider one before it where there is one.
Result<Directory> find_directory(const os::OpenFile& file) {
  const auto tail_bytes = std::min(file.size(), kEndBytes + kCommentBytesMax);
  const auto tail_at = file.size() - tail_bytes;
  auto tail = file.text(tail_at, tail_bytes);
  if (!tail) return tail.error();
  std::optional<std::size_t> end;
  for (auto at = tail->size() < kEndBytes ? 0 : tail->size() - kEndBytes + 1; at > 0 && !end; --at)
    if (number_at<std::uint32_t>(*tail, at - 1) == kEnd &&
        at - 1 + kEndBytes + number_at<std::uint16_t>(*tail, at - 1 + 20) == tail->size())
      end = at - 1;
  if (!end) return broken("the zip archive has no end: it was cut, or is none");
  Directory directory{number_at<std::uint32_t>(*tail, *end + 16), number_at<std::uint32_t>(*tail, *end + 12),
                      number_at<std::uint16_t>(*tail, *end + 10)};
  if (directory.at != kFull32 && directory.bytes != kFull32 && directory.members != kFull16) return directory;
  const auto end_at = tail_at + *end;
  if (end_at < kLocator64Bytes) return directory;
  auto locator = file.text(end_at - kLocator64Bytes, kLocator64Bytes);
  if (!locator) return locator.error();
  if (number_at<std::uint32_t>(*locator, 0) != kLocator64) return directory;  // it has just 65,535 members
  const auto wide_at = number_at<std::uint64_t>(*locator, 8);
  if (wide_at > file.size() || file.size() - wide_at < kEnd64Bytes)
    return broken("the zip archive's 64-bit end lies beyond the file");
  auto wide = file.text(wide_at, kEnd64Bytes);
  if (!wide) return wide.error();
  if (number_at<std::uint32_t>(*wide, 0) != kEnd64) return broken("the zip archive's 64-bit end is damaged");
  return Directory{number_at<std::uint64_t>(*wide, 48), number_at<std::uint64_t>(*wide, 40),
                   number_at<std::uint64_t>(*wide, 32)};
}

/// Replaces what is full in the fixed fields by what the extra field has. False: it has it not.
bool widen(std::string_view extra, ZipMember& member, std::uint64_t& packed) {
  if (member.size != kFull32 && packed != kFull32 && member.header != kFull32) return true;
  while (extra.size() >= 4) {
    const auto id = number_at<std::uint16_t>(extra, 0);
    const std::size_t bytes = number_at<std::uint16_t>(extra, 2);
    extra.remove_prefix(4);
    if (bytes > extra.size()) return false;
    if (id == kExtra64) {
      auto values = extra.substr(0, bytes);
      for (auto* field : {&member.size, &packed, &member.header}) {
        if (*field != kFull32) continue;
        if (values.size() < 8) return false;
        *field = number_at<std::uint64_t>(values, 0);
        values.remove_prefix(8);
      }
      return true;
    }
    extra.remove_prefix(bytes);
  }
  return false;
}

std::string in_quotes(std::string_view name) { return "\"" + clipped(name, 100) + "\""; }

}  // namespace

Result<ZipFile> ZipFile::open(std::shared_ptr<const os::OpenFile> file) {
  const auto damaged = [&](const std::string& why) { return fail(Errc::kIo, file->path() + ": " + why); };
  const auto directory = find_directory(*file);
  if (!directory) return damaged(directory.error().message());
  if (directory->bytes > kDirectoryBytesMax || directory->at > file->size() ||
      directory->bytes > file->size() - directory->at ||
      directory->members > directory->bytes / kCentralBytes)
    return damaged("the zip archive's directory does not fit into the file");
  auto text = file->text(directory->at, directory->bytes);
  if (!text) return text.error();
  ZipFile opened;
  opened.file_ = file;
  std::string_view rest = *text;
  std::uint64_t sizes = 0;
  for (std::uint64_t i = 0; i < directory->members; ++i) {
    if (rest.size() < kCentralBytes || number_at<std::uint32_t>(rest, 0) != kCentral)
      return damaged("the zip archive's directory is damaged at member " + std::to_string(i));
    const std::size_t name_bytes = number_at<std::uint16_t>(rest, 28),
                      extra_bytes = number_at<std::uint16_t>(rest, 30),
                      all_bytes =
                          kCentralBytes + name_bytes + extra_bytes + number_at<std::uint16_t>(rest, 32);
    if (rest.size() < all_bytes) return damaged("the zip archive's directory ends within a member");
    ZipMember member{std::string(rest.substr(kCentralBytes, name_bytes)), number_at<std::uint32_t>(rest, 42),
                     number_at<std::uint32_t>(rest, 24), number_at<std::uint32_t>(rest, 16)};
    std::uint64_t packed = number_at<std::uint32_t>(rest, 20);
    if (!widen(rest.substr(kCentralBytes + name_bytes, extra_bytes), member, packed))
      return damaged("member " + in_quotes(member.name) + " of the zip archive lacks its 64-bit sizes");
    if ((number_at<std::uint16_t>(rest, 8) & kEncrypted) != 0)
      return damaged("member " + in_quotes(member.name) + " of the zip archive is encrypted");
    if (number_at<std::uint16_t>(rest, 10) != 0 || packed != member.size)
      return damaged("member " + in_quotes(member.name) +
                     " of the zip archive is compressed; torch.save stores members as they are");
    if (member.header > file->size() || member.size > file->size() - member.header)
      return damaged("member " + in_quotes(member.name) + " of the zip archive lies beyond the file");
    // Otherwise a small file could stand for any amount of work.
    sizes += member.size;
    if (sizes > file->size()) return damaged("members of the zip archive overlap");
    if (!opened.by_name_.emplace(member.name, opened.members_.size()).second)
      return damaged("the zip archive has two members " + in_quotes(member.name));
    opened.members_.push_back(std::move(member));
    rest.remove_prefix(all_bytes);
  }
  return opened;
}

const ZipMember* ZipFile::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &members_[found->second];
}

Result<std::uint64_t> ZipFile::data_at(const ZipMember& member) const {
  const auto damaged = [&](const std::string& why) {
    return fail(Errc::kIo,
                file_->path() + ": member " + in_quotes(member.name) + " of the zip archive " + why);
  };
  if (file_->size() - member.header < kLocalBytes + member.name.size())
    return damaged("lies beyond the file");
  auto header = file_->text(member.header, kLocalBytes + member.name.size());
  if (!header) return header.error();
  if (number_at<std::uint32_t>(*header, 0) != kLocal ||
      number_at<std::uint16_t>(*header, 26) != member.name.size() ||
      header->substr(kLocalBytes) != member.name)
    return damaged("does not begin where the directory says");
  const auto at = member.header + kLocalBytes + member.name.size() + number_at<std::uint16_t>(*header, 28);
  if (at > file_->size() || member.size > file_->size() - at) return damaged("lies beyond the file");
  return at;
}

Result<Done> ZipFile::check(const ZipMember& member) const {
  const auto begin = data_at(member);
  if (!begin) return begin.error();
  constexpr std::uint64_t kPieceBytes = 1u << 20;
  uLong crc = 0;
  std::string piece;
  for (std::uint64_t at = 0; at < member.size; at += piece.size()) {
    piece.resize(std::min(kPieceBytes, member.size - at));
    if (auto done = file_->read(*begin + at, piece); !done) return done;
    crc = ::crc32_z(crc, reinterpret_cast<const Bytef*>(piece.data()), piece.size());
  }
  if (crc == member.crc) return ok();
  return fail(Errc::kIo, file_->path() + ": member " + in_quotes(member.name) +
                             " of the zip archive was changed: it has not its CRC-32");
}

Result<std::string> ZipFile::text(const ZipMember& member, std::uint64_t bytes_max) const {
  if (member.size > bytes_max)
    return fail(Errc::kIo, file_->path() + ": member " + in_quotes(member.name) + " has " +
                               std::to_string(member.size) + " bytes; at most " + std::to_string(bytes_max) +
                               " are read");
  auto at = data_at(member);
  if (!at) return at.error();
  return file_->text(*at, member.size);
}

}  // namespace rtrain::tensors
