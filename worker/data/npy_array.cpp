#include "worker/data/npy_array.h"

#include <rtrain/data/array_files.h>

#include "worker/data/file_bytes.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace rtrain::data {
namespace {

struct NpyType {
  std::string_view code;
  at::ScalarType type;
  std::size_t bytes, part;  ///< of an element; of what has a byte order
};
constexpr NpyType kTypes[]{{"b1", at::kBool, 1, 1},         {"u1", at::kByte, 1, 1},
                           {"i1", at::kChar, 1, 1},         {"i2", at::kShort, 2, 2},
                           {"i4", at::kInt, 4, 4},          {"i8", at::kLong, 8, 8},
                           {"u2", at::kUInt16, 2, 2},       {"u4", at::kUInt32, 4, 4},
                           {"u8", at::kUInt64, 8, 8},       {"f2", at::kHalf, 2, 2},
                           {"f4", at::kFloat, 4, 4},        {"f8", at::kDouble, 8, 8},
                           {"c8", at::kComplexFloat, 8, 4}, {"c16", at::kComplexDouble, 16, 8}};

[[noreturn]] void malformed(const std::string& why) {
  throw std::runtime_error("not a whole .npy file: " + why);
}

/// What stands behind 'key': in the dictionary of the header.
std::string_view value_of(std::string_view header, std::string_view key) {
  for (const char quote : {'\'', '"'}) {
    const auto name = std::string(1, quote) + std::string(key) + quote;
    const auto at = header.find(name);
    if (at == std::string_view::npos) continue;
    const auto colon = header.find(':', at + name.size());
    if (colon == std::string_view::npos) break;
    const auto begin = header.find_first_not_of(' ', colon + 1);
    if (begin != std::string_view::npos) return header.substr(begin);
  }
  malformed("its header has no '" + std::string(key) + "'");
}

void read_type(std::string_view value, NpyHeader& header) {
  if (value.empty() || (value[0] != '\'' && value[0] != '"'))
    throw std::runtime_error("an array of structures, which no tensor can be");
  const auto descr = value.substr(1, value.find(value[0], 1) - 1);
  if (descr.size() >= 2) {
    for (const auto& type : kTypes) {
      if (descr.substr(1) != type.code) continue;
      header.type = type.type;
      header.item_bytes = type.bytes;
      header.swapped_bytes = descr[0] == '>' ? type.part : 1;
      return;
    }
  }
  throw std::runtime_error("its type is '" + std::string(descr) +
                           "', which no tensor can have; convert it with astype() before it is saved");
}

void read_shape(std::string_view value, NpyHeader& header) {
  if (value.empty() || value[0] != '(') malformed("its shape is no tuple");
  auto rest = value.substr(1, value.find(')') - 1);
  std::int64_t count = 1;
  while (true) {
    const auto digit = rest.find_first_of("0123456789");
    if (digit == std::string_view::npos) break;
    std::int64_t size = 0;
    const auto end = std::from_chars(rest.data() + digit, rest.data() + rest.size(), size);
    if (end.ec != std::errc() || (size > 0 && count > std::numeric_limits<std::int64_t>::max() / 64 / size))
      malformed("its shape is too large");
    count *= size;
    header.shape.push_back(size);
    rest.remove_prefix(static_cast<std::size_t>(end.ptr - rest.data()));
  }
  header.data_bytes = static_cast<std::size_t>(count) * header.item_bytes;
}

/// Elements as they stand in the file, into the order that the shape means.
torch::Tensor in_order(torch::Tensor flat, const NpyHeader& header) {
  if (!header.is_fortran) return flat.view(header.shape);
  std::vector<std::int64_t> shape(header.shape.rbegin(), header.shape.rend()), dims(shape.size());
  std::iota(dims.rbegin(), dims.rend(), 0);
  return flat.view(shape).permute(dims);
}

}  // namespace

NpyHeader npy_header(std::span<const std::uint8_t> bytes) {
  constexpr std::size_t kMagic = 8;
  if (bytes.size() < kMagic + 4 || std::memcmp(bytes.data(), "\x93NUMPY", 6) != 0)
    malformed("it does not begin with \\x93NUMPY");
  const int version = bytes[6];
  if (version < 1 || version > 3) malformed("version " + std::to_string(version));
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  std::size_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) length |= std::size_t{bytes[kMagic + i]} << (8 * i);
  NpyHeader header;
  header.data_at = kMagic + length_bytes + length;
  if (header.data_at > bytes.size()) malformed("it ends within its header");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kMagic + length_bytes, length);
  read_type(value_of(text, "descr"), header);
  header.is_fortran = value_of(text, "fortran_order").starts_with("True");
  read_shape(value_of(text, "shape"), header);
  if (header.data_bytes > bytes.size() - header.data_at)
    malformed("it has " + std::to_string(bytes.size() - header.data_at) + " bytes of data, its shape needs " +
              std::to_string(header.data_bytes));
  return header;
}

torch::Tensor npy_array(std::span<const std::uint8_t> bytes) {
  const auto header = npy_header(bytes);
  auto flat =
      at::empty({static_cast<std::int64_t>(header.data_bytes / header.item_bytes)}, at::dtype(header.type));
  auto* const to = static_cast<std::uint8_t*>(flat.mutable_data_ptr());
  if (header.data_bytes > 0) std::memcpy(to, bytes.data() + header.data_at, header.data_bytes);
  if (header.swapped_bytes > 1)
    for (std::size_t at = 0; at < header.data_bytes; at += header.swapped_bytes)
      std::reverse(to + at, to + at + header.swapped_bytes);
  return in_order(std::move(flat), header).contiguous();
}

torch::Tensor load_npy(const std::filesystem::path& path, bool mmap) {
  const auto file = std::make_shared<MappedFile>(path, MappedFile::Access::kCopyOnWrite);
  try {
    if (!mmap) return npy_array(file->bytes());
    const auto header = npy_header(file->bytes());
    if (header.swapped_bytes > 1)
      throw std::runtime_error("its byte order is not this machine's; read it without mmap");
    auto* const data = const_cast<std::uint8_t*>(file->bytes().data()) + header.data_at;
    auto flat = at::from_blob(
        data, {static_cast<std::int64_t>(header.data_bytes / header.item_bytes)}, [file](void*) {},
        at::dtype(header.type));
    return in_order(std::move(flat), header);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

}  // namespace rtrain::data
