#include "proto/tensors/little_endian.h"
#include "proto/tensors/zip_file.h"
#include "proto/tensors/zip_layout.h"

#include <zlib.h>

#include <algorithm>

namespace rtrain::tensors {
namespace {

using namespace zip;

constexpr std::uint64_t kAlignment = 64;  // what torch.save has
constexpr std::uint16_t kVersion = 45;    // of the format: the first one with 64-bit fields
constexpr std::uint16_t kUtf8Names = 1 << 11;
constexpr std::uint16_t kFirstDay = 1 << 5 | 1;  // 1980-01-01: the same content gives the same bytes
constexpr std::size_t kCrcAt = 14;               // in a local header

std::uint32_t narrow(std::uint64_t value) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, kFull32));
}

/// What the local header and the directory say in common: version to size.
void put_common(std::string& out, const ZipMember& member) {
  put_number<std::uint16_t>(out, kVersion);
  put_number<std::uint16_t>(out, kUtf8Names);
  put_number<std::uint16_t>(out, 0);  // stored
  put_number<std::uint16_t>(out, 0);  // time
  put_number<std::uint16_t>(out, kFirstDay);
  put_number<std::uint32_t>(out, member.crc);
  put_number<std::uint32_t>(out, narrow(member.size));  // packed
  put_number<std::uint32_t>(out, narrow(member.size));
  put_number<std::uint16_t>(out, static_cast<std::uint16_t>(member.name.size()));
}

/// The fields that are too narrow.
std::string extra_64(const ZipMember& member, bool with_place) {
  std::string values;
  if (member.size >= kFull32) {
    put_number<std::uint64_t>(values, member.size);
    put_number<std::uint64_t>(values, member.size);
  }
  if (with_place && member.header >= kFull32) put_number<std::uint64_t>(values, member.header);
  if (values.empty()) return values;
  std::string extra;
  put_number<std::uint16_t>(extra, kExtra64);
  put_number<std::uint16_t>(extra, static_cast<std::uint16_t>(values.size()));
  return extra + values;
}

}  // namespace

Result<ZipWriter> ZipWriter::create(const std::string& path) {
  auto file = os::NewFile::create(path);
  if (!file) return file.error();
  return ZipWriter(std::move(*file));
}

Result<Done> ZipWriter::begin(const std::string& name, std::uint64_t size) {
  const ZipMember& member = members_.emplace_back(ZipMember{name, file_->size(), size, 0});
  std::string head;
  put_number<std::uint32_t>(head, kLocal);
  put_common(head, member);
  auto extra = extra_64(member, false);
  // A field of padding has 4 bytes at least.
  const auto unpadded = member.header + kLocalBytes + name.size() + extra.size() + 4;
  const auto padding = (kAlignment - unpadded % kAlignment) % kAlignment;
  put_number<std::uint16_t>(extra, kExtraPadding);
  put_number<std::uint16_t>(extra, static_cast<std::uint16_t>(padding));
  extra.append(padding, 'Z');
  put_number<std::uint16_t>(head, static_cast<std::uint16_t>(extra.size()));
  return file_->write(head + name + extra);
}

Result<Done> ZipWriter::write(std::string_view bytes) {
  auto& crc = members_.back().crc;
  crc =
      static_cast<std::uint32_t>(::crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  return file_->write(bytes);
}

Result<Done> ZipWriter::end() {
  std::string crc;
  put_number<std::uint32_t>(crc, members_.back().crc);
  return file_->overwrite(members_.back().header + kCrcAt, crc);
}

Result<Done> ZipWriter::add(const std::string& name, std::string_view bytes) {
  if (auto done = begin(name, bytes.size()); !done) return done;
  if (auto done = write(bytes); !done) return done;
  return end();
}

Result<Done> ZipWriter::finish() {
  const auto directory_at = file_->size();
  std::string out;
  for (const auto& member : members_) {
    const auto extra = extra_64(member, true);
    put_number<std::uint32_t>(out, kCentral);
    put_number<std::uint16_t>(out, kVersion);  // made by
    put_common(out, member);
    put_number<std::uint16_t>(out, static_cast<std::uint16_t>(extra.size()));
    out.append(10, '\0');  // comment, disk, attributes
    put_number<std::uint32_t>(out, narrow(member.header));
    out += member.name + extra;
  }
  const auto directory_bytes = out.size(), end_64_at = directory_at + directory_bytes,
             count = members_.size();
  if (directory_at >= kFull32 || directory_bytes >= kFull32 || count >= kFull16) {
    put_number<std::uint32_t>(out, kEnd64);
    put_number<std::uint64_t>(out, kEnd64Bytes - 12);  // of what follows
    put_number<std::uint16_t>(out, kVersion);
    put_number<std::uint16_t>(out, kVersion);
    put_number<std::uint64_t>(out, 0);  // disks
    put_number<std::uint64_t>(out, count);
    put_number<std::uint64_t>(out, count);
    put_number<std::uint64_t>(out, directory_bytes);
    put_number<std::uint64_t>(out, directory_at);
    put_number<std::uint32_t>(out, kLocator64);
    put_number<std::uint32_t>(out, 0);
    put_number<std::uint64_t>(out, end_64_at);
    put_number<std::uint32_t>(out, 1);
  }
  const auto narrow_count = static_cast<std::uint16_t>(std::min<std::size_t>(count, kFull16));
  put_number<std::uint32_t>(out, kEnd);
  put_number<std::uint32_t>(out, 0);  // disks
  put_number<std::uint16_t>(out, narrow_count);
  put_number<std::uint16_t>(out, narrow_count);
  put_number<std::uint32_t>(out, narrow(directory_bytes));
  put_number<std::uint32_t>(out, narrow(directory_at));
  put_number<std::uint16_t>(out, 0);  // comment
  if (auto done = file_->write(out); !done) return done;
  return file_->commit();
}

}  // namespace rtrain::tensors
