#include <rtrain/safetensors.h>

#include "common/base/crc32c.h"
#include "proto/tensors/safetensors_header.h"
#include "worker/checkpoint/checked_file.h"
#include "worker/checkpoint/local_file.h"
#include "worker/checkpoint/scalar_types.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <bit>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace rtrain {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian numbers");

using files::dtype_of;
using tensors::Checksum;
using tensors::Dtype;
constexpr auto kHeaderBytesMax = tensors::kSafetensorsHeaderBytesMax;
constexpr std::size_t kPieceBytes = 1u << 20;  ///< stays in a cache between the checksum and the system call

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& why) {
  throw std::runtime_error(path.string() + ": " + why);
}
// ---- writing

void append_all(const void* data, std::size_t size, Crc32c& crc, const CheckpointDraft::Append& append) {
  const auto* at = static_cast<const char*>(data);
  while (size > 0) {
    const std::string_view piece{at, std::min(size, kPieceBytes)};
    crc.add(piece);
    append(piece);
    at += piece.size();
    size -= piece.size();
  }
}

struct Entry {
  std::string name;
  const Dtype* dtype;
  torch::Tensor tensor;
};

std::vector<Entry> entries_of(const std::filesystem::path& path, const SafeTensors& content) {
  std::vector<Entry> entries;
  entries.reserve(content.tensors.size());
  for (const auto& [name, tensor] : content.tensors) {
    if (!tensor.defined()) fail(path, "tensor \"" + name + "\" is undefined");
    if (tensor.numel() > 0 && tensor.has_storage() && tensor.storage().data() == nullptr)
      fail(path, "tensor \"" + name +
                     "\" has no memory: a strategy shards it; write it within full_parameters(), or let the "
                     "Trainer save a checkpoint");
    const auto* dtype = dtype_of(tensor.scalar_type());
    if (dtype == nullptr || tensor.layout() != at::kStrided) {
      fail(path, "tensor \"" + name + "\" cannot be represented: " +
                     std::string(c10::toString(tensor.scalar_type())) + ", " + c10::str(tensor.layout()));
    }
    entries.push_back({name, dtype, tensor.detach()});
  }
  // Wide types first: with a header padded to 8 bytes every tensor lies at a multiple of its element size.
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.tensor.element_size() > b.tensor.element_size();
  });
  return entries;
}

std::string head_of(const std::filesystem::path& path, const std::vector<Entry>& entries,
                    const SafeTensors& content) {
  tensors::SafetensorsHeader header;
  header.metadata = content.metadata;
  std::uint64_t offset = 0;
  for (const auto& entry : entries) {
    const auto end = offset + static_cast<std::uint64_t>(entry.tensor.numel() * entry.tensor.element_size());
    header.tensors.push_back({entry.name, entry.dtype, entry.tensor.sizes().vec(), offset, end});
    offset = end;
  }
  try {
    return tensors::safetensors_head(header);
  } catch (const std::runtime_error& wrong) {
    fail(path, wrong.what());
  }
}

// ---- reading

/// In the order of the file, so that `crc` is that of the file in the end.
void read_exactly(CheckpointFile& file, void* into, std::size_t size, std::uint64_t at, Crc32c& crc) {
  auto* next = static_cast<char*>(into);
  while (size > 0) {
    const auto piece = std::min(size, kPieceBytes);
    file.read(at, next, piece);
    crc.add({next, piece});
    next += piece;
    at += piece;
    size -= piece;
  }
}

}  // namespace

bool is_storable(torch::ScalarType type) { return dtype_of(type) != nullptr; }

void save_safetensors(const std::filesystem::path& path, const SafeTensors& content) {
  (void)save_summed(path, content);
}

Checksum save_summed(const std::filesystem::path& path, const SafeTensors& content) {
  Checksum sum;
  files::write_local(
      path, [&](const CheckpointDraft::Append& append) { sum = append_safetensors(path, content, append); });
  return sum;
}

Checksum append_safetensors(const std::filesystem::path& path, const SafeTensors& content,
                            const CheckpointDraft::Append& append) {
  const auto entries = entries_of(path, content);
  const auto head = head_of(path, entries, content);
  Crc32c crc;
  std::uint64_t size = head.size();
  append_all(head.data(), head.size(), crc, append);
  for (const auto& entry : entries) {
    const auto bytes = entry.tensor.cpu().contiguous();
    append_all(bytes.const_data_ptr(), bytes.nbytes(), crc, append);
    size += bytes.nbytes();
  }
  return {size, crc.value()};
}

SafeTensors load_safetensors(const std::filesystem::path& path) { return load_checked(path, std::nullopt); }

SafeTensors load_checked(const std::filesystem::path& path, const std::optional<Checksum>& expected) {
  return read_safetensors(*files::open_local(path), path, expected);
}

SafeTensors read_safetensors(CheckpointFile& file, const std::filesystem::path& path,
                             const std::optional<Checksum>& expected) {
  const auto file_size = file.size();
  if (expected && file_size != expected->bytes) require_same(path, *expected, {file_size, 0});

  Crc32c crc;
  std::uint64_t header_size = 0;
  if (file_size < sizeof header_size)
    fail(path, "too short for a safetensors file (" + std::to_string(file_size) + " bytes)");
  read_exactly(file, &header_size, sizeof header_size, 0, crc);
  if (header_size > kHeaderBytesMax)
    fail(path, "no safetensors file: it claims a header of " + std::to_string(header_size) +
                   " bytes, over the format's 100,000,000");
  if (header_size > file_size - sizeof header_size) fail(path, "the file ends within its header");
  std::string text(header_size, '\0');
  read_exactly(file, text.data(), text.size(), sizeof header_size, crc);
  const auto data_at = sizeof header_size + header_size;
  const auto header = [&] {
    try {
      return tensors::parse_safetensors_header(text, file_size - data_at);
    } catch (const std::runtime_error& wrong) {
      fail(path, wrong.what());
    }
  }();

  SafeTensors content;
  for (const auto& [key, value] : header.metadata) content.metadata.emplace(key, value);
  for (const auto& described : header.tensors) {
    const auto type = files::scalar_type_of(*described.dtype);
    auto tensor = at::empty(described.shape, type);
    read_exactly(file, tensor.mutable_data_ptr(), tensor.nbytes(), data_at + described.begin, crc);
    if (type == at::kBool) {
      const auto* bytes = static_cast<const std::uint8_t*>(tensor.const_data_ptr());
      if (std::any_of(bytes, bytes + tensor.nbytes(), [](std::uint8_t byte) { return byte > 1; })) {
        fail(path, "tensor \"" + described.name + "\": a BOOL that is neither 0 nor 1");
      }
    }
    content.tensors.emplace(described.name, std::move(tensor));
  }
  // The tensors cover the data, each byte once, and were read in their order.
  if (expected) require_same(path, *expected, {file_size, crc.value()});
  return content;
}

}  // namespace rtrain
