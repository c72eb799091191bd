#include "worker/data/tar_reader.h"

#include <rtrain/data/image_io.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <string_view>

namespace rtrain::data {
namespace {

constexpr std::size_t kBlock = 512;
using Block = std::array<unsigned char, kBlock>;

std::string_view text_at(const Block& block, std::size_t at, std::size_t size) {
  const std::string_view field(reinterpret_cast<const char*>(block.data()) + at, size);
  return field.substr(0, field.find('\0'));
}

/// Octal digits, or, of large numbers, the bytes themselves behind a first one of 0x80 (GNU).
std::optional<std::uint64_t> number_at(const Block& block, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  if ((block[at] & 0x80) != 0) {
    for (std::size_t i = 1; i < size; ++i) value = value << 8 | block[at + i];
    return value;
  }
  for (std::size_t i = 0; i < size; ++i) {
    const auto c = block[at + i];
    if (c == ' ' && value == 0) continue;
    if (c == '\0' || c == ' ') break;
    if (c < '0' || c > '7') return std::nullopt;
    value = value * 8 + (c - '0');
  }
  return value;
}

bool is_valid(const Block& block) {
  constexpr std::size_t kSum = 148, kSumSize = 8;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i)
    sum += i >= kSum && i < kSum + kSumSize ? std::uint64_t{' '} : std::uint64_t{block[i]};
  return number_at(block, kSum, kSumSize) == sum;
}

std::uint64_t padding_of(std::uint64_t size) { return (kBlock - size % kBlock) % kBlock; }

constexpr std::uint64_t kNoSize = std::numeric_limits<std::uint64_t>::max();

/// Records "23 path=photos/1.jpg\n" of a pax header.
void apply_pax(std::string_view records, std::string& name, std::uint64_t& size) {
  while (!records.empty()) {
    std::size_t length = 0;
    const auto end = std::from_chars(records.data(), records.data() + records.size(), length);
    if (end.ec != std::errc() || length == 0 || length > records.size()) return;
    const auto record = records.substr(0, length - 1);
    const auto space = record.find(' '), equals = record.find('=');
    if (space != std::string_view::npos && equals != std::string_view::npos && space < equals) {
      const auto key = record.substr(space + 1, equals - space - 1), value = record.substr(equals + 1);
      if (key == "path") name = value;
      std::uint64_t number = 0;
      if (key == "size" &&
          std::from_chars(value.data(), value.data() + value.size(), number).ec == std::errc())
        size = number;
    }
    records.remove_prefix(length);
  }
}

}  // namespace

TarReader::TarReader(const std::string& path) : path_(path), file_(gzopen(path.c_str(), "rbe")) {
  if (file_ == nullptr) fail(std::string("could not be opened: ") + std::strerror(errno));
  gzbuffer(file_, 1 << 18);
}

TarReader::~TarReader() { gzclose(file_); }

void TarReader::fail(const std::string& why) const { throw SampleError(path_ + ": " + why); }

std::size_t TarReader::read(void* into, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const auto got = gzread(file_, static_cast<char*>(into) + done,
                            static_cast<unsigned>(std::min<std::size_t>(size - done, 1u << 30)));
    if (got < 0) {
      int code = Z_OK;
      const char* text = gzerror(file_, &code);
      fail(code == Z_ERRNO ? std::string("could not be read: ") + std::strerror(errno)
                           : std::string("broken gzip data: ") + text);
    }
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

void TarReader::read_all(void* into, std::size_t size) {
  if (read(into, size) != size) fail("the archive ends too early");
}

void TarReader::pass(std::uint64_t size) {
  std::array<char, 1 << 14> dropped;
  while (size > 0) {
    const auto part = std::min<std::uint64_t>(size, dropped.size());
    read_all(dropped.data(), part);
    size -= part;
  }
}

/// In pieces: a size that is wrong does not ask for memory that is not needed.
std::string TarReader::text(std::uint64_t size) {
  constexpr std::uint64_t kPiece = 1 << 24;
  std::string bytes;
  while (bytes.size() < size) {
    const auto at = bytes.size();
    bytes.resize(at + std::min<std::uint64_t>(kPiece, size - at));
    read_all(bytes.data() + at, bytes.size() - at);
  }
  return bytes;
}

std::optional<TarReader::Member> TarReader::next() {
  pass(left_ + padding_);
  left_ = padding_ = 0;
  std::string name;
  std::uint64_t pax_size = kNoSize;
  while (true) {
    Block block;
    const auto got = read(block.data(), kBlock);
    if (got == 0) return std::nullopt;  // without the two empty blocks that should end it
    if (got < kBlock) fail("the archive ends too early");
    if (std::all_of(block.begin(), block.end(), [](auto byte) { return byte == 0; })) return std::nullopt;
    if (!is_valid(block)) fail("no tar archive, or a damaged one: the checksum of a header is wrong");
    const auto stored = number_at(block, 124, 12);
    if (!stored) fail("the size of a file is no number");
    const char kind = static_cast<char>(block[156]);
    if (kind == 'x' || kind == 'L') {
      auto content = text(*stored);
      pass(padding_of(*stored));
      if (kind == 'x')
        apply_pax(content, name, pax_size);
      else
        name = content.substr(0, content.find('\0'));
      continue;
    }
    const auto size = pax_size != kNoSize ? pax_size : *stored;
    if (kind != '0' && kind != '\0' && kind != '7') {
      const bool has_content = kind == 'g' || size > 0;
      if (has_content && kind != '1' && kind != '2') pass(size + padding_of(size));
      name.clear();
      pax_size = kNoSize;
      continue;
    }
    if (name.empty()) {
      const bool is_ustar = text_at(block, 257, 5) == "ustar" && block[262] == '\0';
      const auto prefix = is_ustar ? text_at(block, 345, 155) : std::string_view();
      name = std::string(prefix) + (prefix.empty() ? "" : "/") + std::string(text_at(block, 0, 100));
    }
    left_ = size;
    padding_ = padding_of(size);
    return Member{std::move(name), size};
  }
}

std::string TarReader::content() {
  auto bytes = text(left_);
  left_ = 0;
  return bytes;
}

}  // namespace rtrain::data
