#include <rtrain/safetensors.h>

#include "common/base/crc32c.h"
#include "worker/checkpoint/checked_file.h"
#include "worker/checkpoint/local_file.h"
#include "worker/checkpoint/safetensors_input.h"
#include "worker/checkpoint/safetensors_layout.h"
#include "worker/checkpoint/scalar_types.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace rtrain {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian numbers");

using tensors::Checksum;
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

/// Each of them whole.
StateTree tree_to_write(const std::filesystem::path& path, const SafeTensors& content) {
  StateTree tree;
  for (const auto& [name, tensor] : content.tensors) {
    if (!tensor.defined()) fail(path, "tensor \"" + name + "\" is undefined");
    if (tensor.numel() > 0 && tensor.has_storage() && tensor.storage().data() == nullptr)
      fail(path, "tensor \"" + name +
                     "\" has no memory: a strategy shards it; write it within full_parameters(), or let the "
                     "Trainer save a checkpoint");
    tree.emplace(name, tensor.detach());
  }
  return tree;
}

}  // namespace

bool is_storable(torch::ScalarType type) { return files::dtype_of(type) != nullptr; }

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
  const auto tree = tree_to_write(path, content);
  const auto layout = files::lay_out(path, tree, content.metadata);
  Crc32c crc;
  append_all(layout.head.data(), layout.head.size(), crc, append);
  for (const auto& [piece, at] : layout.tensors) {
    const auto bytes = piece->tensor.cpu().contiguous();
    append_all(bytes.const_data_ptr(), bytes.nbytes(), crc, append);
  }
  return {layout.size, crc.value()};
}

SafeTensors load_safetensors(const std::filesystem::path& path) { return load_checked(path, std::nullopt); }

SafeTensors load_checked(const std::filesystem::path& path, const std::optional<Checksum>& expected) {
  return read_safetensors(*files::open_local(path), path, expected);
}

SafeTensors read_safetensors(CheckpointFile& file, const std::filesystem::path& path,
                             const std::optional<Checksum>& expected) {
  const auto file_size = file.size();
  if (expected && file_size != expected->bytes) require_same(path, *expected, {file_size, 0});
  const auto head = files::read_head(file, path);
  Crc32c crc;
  crc.add(head.bytes);
  SafeTensors content;
  for (const auto& [key, value] : head.header.metadata) content.metadata.emplace(key, value);
  for (const auto& described : head.header.tensors) {
    auto tensor = at::empty(described.shape, files::scalar_type_of(*described.dtype));
    files::read_summed(file, tensor.mutable_data_ptr(), tensor.nbytes(), head.bytes.size() + described.begin,
                       crc);
    files::require_booleans(tensor, described.name, path);
    content.tensors.emplace(described.name, std::move(tensor));
  }
  // The tensors cover the data, each byte once, and were read in their order.
  if (expected) require_same(path, *expected, {file_size, crc.value()});
  return content;
}

}  // namespace rtrain
