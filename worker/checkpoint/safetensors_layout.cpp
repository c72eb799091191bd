#include "worker/checkpoint/safetensors_layout.h"

#include "proto/tensors/safetensors_header.h"
#include "worker/checkpoint/scalar_types.h"

#include <algorithm>
#include <stdexcept>

namespace rtrain::files {

SafetensorsLayout lay_out(const std::filesystem::path& path, const StateTree& tree,
                          const std::map<std::string, std::string>& metadata) {
  std::vector<const StateTree::value_type*> entries;
  for (const auto& entry : tree) entries.push_back(&entry);
  // Wide types first: with a header padded to 8 bytes every tensor lies at a multiple of its element size.
  std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
    return a->second.tensor.element_size() > b->second.tensor.element_size();
  });
  tensors::SafetensorsHeader header;
  header.metadata = metadata;
  SafetensorsLayout layout;
  std::uint64_t offset = 0;
  for (const auto* entry : entries) {
    const auto& [name, piece] = *entry;
    const auto* dtype = dtype_of(piece.tensor.scalar_type());
    if (dtype == nullptr || piece.tensor.layout() != at::kStrided)
      throw std::runtime_error(path.string() + ": tensor \"" + name +
                               "\" cannot be represented: " + c10::toString(piece.tensor.scalar_type()) +
                               ", " + c10::str(piece.tensor.layout()));
    const auto end = offset + static_cast<std::uint64_t>(piece.numel() * piece.tensor.element_size());
    header.tensors.push_back({name, dtype, piece.shape, offset, end});
    layout.tensors.push_back({&piece, offset});
    offset = end;
  }
  try {
    layout.head = tensors::safetensors_head(header);
  } catch (const std::runtime_error& wrong) {
    throw std::runtime_error(path.string() + ": " + wrong.what());
  }
  for (auto& placed : layout.tensors) placed.at += layout.head.size();
  layout.size = layout.head.size() + offset;
  return layout;
}

}  // namespace rtrain::files
