#include "daemon/store/raw_pages.h"

#include <algorithm>
#include <bit>
#include <filesystem>

namespace rtrain::store {
namespace {

constexpr std::string_view kMagic{"SQLite format 3\0", 16};
constexpr std::size_t kLogHeader = 32, kFrameHeader = 24;

bool is_page_size(std::uint32_t bytes) {
  return bytes >= 512 && bytes <= 65536 && std::has_single_bit(bytes);
}

bool read_at(std::ifstream& file, std::uint64_t at, std::size_t bytes, std::string& into) {
  into.resize(bytes);
  file.clear();
  file.seekg(static_cast<std::streamoff>(at));
  file.read(into.data(), static_cast<std::streamsize>(bytes));
  return file && static_cast<std::size_t>(file.gcount()) == bytes;
}

/// The checksum of the log: over all that is before, so that a frame of an earlier round never fits.
struct LogSum {
  bool big_endian = false;
  std::uint32_t a = 0, b = 0;

  void add(std::string_view bytes) {
    const auto word = [&](std::size_t at) {
      const auto value = raw_u32(bytes, at);
      return big_endian ? value : __builtin_bswap32(value);
    };
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      a += word(at) + b;
      b += word(at + 4) + a;
    }
  }
  [[nodiscard]] bool is(std::string_view bytes, std::size_t at) const {
    return raw_u32(bytes, at) == a && raw_u32(bytes, at + 4) == b;
  }
};

}  // namespace

std::uint32_t raw_u16(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at])) << 8 |
         static_cast<unsigned char>(bytes[at + 1]);
}

std::uint32_t raw_u32(std::string_view bytes, std::size_t at) {
  return raw_u16(bytes, at) << 16 | raw_u16(bytes, at + 2);
}

Result<RawPages> RawPages::open(const std::string& path) {
  RawPages pages;
  std::error_code ec;
  pages.file_.open(path, std::ios::binary);
  const auto bytes = std::filesystem::file_size(path, ec);
  if (!ec && pages.file_) pages.file_bytes_ = bytes;
  pages.read_log(path + "-wal");
  if (pages.file_bytes_ == 0 && pages.in_log_.empty())
    return fail(Errc::kNotFound, path + ": there is no file that can be read");
  pages.read_header();
  return pages;
}

void RawPages::read_log(const std::string& path) {
  std::error_code ec;
  const auto bytes = std::filesystem::file_size(path, ec);
  log_.open(path, std::ios::binary);
  std::string header, frame, page;
  if (ec || !log_ || !read_at(log_, 0, kLogHeader, header)) return;
  const auto magic = raw_u32(header, 0), size = raw_u32(header, 8);
  LogSum sum{.big_endian = (magic & 1) != 0};
  sum.add(std::string_view(header).substr(0, 24));
  if ((magic | 1) != 0x377f0683 || !is_page_size(size) || !sum.is(header, 24)) return;
  page_bytes_ = usable_bytes_ = size;
  std::unordered_map<std::uint32_t, std::uint64_t> open;  // not committed so far
  for (std::uint64_t at = kLogHeader; at + kFrameHeader + size <= bytes; at += kFrameHeader + size) {
    if (!read_at(log_, at, kFrameHeader, frame) || !read_at(log_, at + kFrameHeader, size, page)) return;
    const auto number = raw_u32(frame, 0), pages_after = raw_u32(frame, 4);
    sum.add(std::string_view(frame).substr(0, 8));
    sum.add(page);
    if (number == 0 || frame.compare(8, 8, header, 16, 8) != 0 || !sum.is(frame, 16)) return;
    open[number] = at + kFrameHeader;
    if (pages_after == 0) continue;
    for (const auto& [changed, where] : open) in_log_[changed] = where;
    open.clear();
    count_ = pages_after;
  }
}

void RawPages::read_header() {
  std::string first;
  const auto in_log = in_log_.find(1);
  const bool given =
      in_log == in_log_.end() ? read_at(file_, 0, 100, first) : read_at(log_, in_log->second, 100, first);
  const bool known = given && first.starts_with(kMagic);
  if (known && in_log_.empty()) {
    const auto stored = raw_u16(first, 16);
    const auto size = stored == 1 ? 65536 : stored;
    if (is_page_size(size)) page_bytes_ = usable_bytes_ = size;
  }
  if (known && static_cast<unsigned char>(first[20]) <= 32)
    usable_bytes_ = page_bytes_ - static_cast<unsigned char>(first[20]);
  if (in_log_.empty()) {
    count_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(file_bytes_ / page_bytes_, 0xfffffffe));
    // The number in the header counts when the same program wrote it as the rest.
    const auto stored = known && raw_u32(first, 24) == raw_u32(first, 92) ? raw_u32(first, 28) : 0;
    if (stored > 0) count_ = std::min(count_, stored);
  } else {  // what is neither in the file nor in the log is not there
    std::uint64_t last = file_bytes_ / page_bytes_;
    for (const auto& [number, where] : in_log_) last = std::max<std::uint64_t>(last, number);
    count_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(count_, last));
  }
  spare_.assign(std::size_t{count_} + 1, false);
  if (pending_page() <= count_) spare_[pending_page()] = true;
  find_maps();
  if (known) find_free_list(raw_u32(first, 32), raw_u32(first, 36));
}

bool RawPages::read(std::uint32_t number, std::string& into) {
  if (number == 0 || number > count_) return false;
  if (const auto logged = in_log_.find(number); logged != in_log_.end())
    return read_at(log_, logged->second, page_bytes_, into);
  const auto at = std::uint64_t{number - 1} * page_bytes_;
  return at + page_bytes_ <= file_bytes_ && read_at(file_, at, page_bytes_, into);
}

void RawPages::find_free_list(std::uint32_t trunk, std::uint32_t pages) {
  std::string page;
  std::vector<bool> listed(std::size_t{count_} + 1);
  for (std::uint64_t found = 0; trunk != 0 && found < pages;) {
    if (trunk > count_ || trunk == 1 || listed[trunk] || !read(trunk, page)) return;
    const auto leaves = raw_u32(page, 4);
    if (leaves > usable_bytes_ / 4 - 2 || found + leaves + 1 > pages) return;
    listed[trunk] = true;
    std::vector<std::uint32_t> spare{trunk};
    for (std::size_t i = 0; i < leaves; ++i) {
      const auto leaf = raw_u32(page, 8 + 4 * i);
      if (leaf > count_ && leaf < 0x80000000u) continue;  // of a file that was cut off
      if (leaf < 2 || leaf > count_ || listed[leaf]) return;
      listed[leaf] = true;
      spare.push_back(leaf);
    }
    for (const auto number : spare) spare_[number] = true;
    found += leaves + 1;
    trunk = raw_u32(page, 0);
  }
}

/// A journal can give space back, and so has maps: for each page five bytes, what it is and to which it
/// belongs. A map is believed when each of its entries can be one, which no other page comes near; so nothing
/// need be known of a header.
void RawPages::find_maps() {
  constexpr char kRoot = 1, kFree = 2, kLast = 5;
  const auto entries = static_cast<std::uint32_t>(usable_bytes_ / 5);
  std::string page;
  for (std::uint64_t begin = 2; begin < count_; begin += entries + 1) {
    const auto at = static_cast<std::uint32_t>(begin) + (begin == pending_page() ? 1u : 0u);
    if (!read(at, page)) continue;
    bool sound = true;
    std::vector<std::uint32_t> spare{at};
    for (std::uint32_t i = 0; i < entries && at + i < count_ && sound; ++i) {
      const std::uint32_t number = at + 1 + i;
      if (number == pending_page()) continue;
      const char kind = page[5 * std::size_t{i}];
      sound =
          kind >= kRoot && kind <= kLast && (raw_u32(page, 5 * std::size_t{i} + 1) == 0) == (kind <= kFree);
      if (kind == kFree) spare.push_back(number);
    }
    if (!sound) continue;
    for (const auto number : spare) spare_[number] = true;
  }
}

}  // namespace rtrain::store
