#include "worker/checkpoint/shared_file.h"

#include "proto/tensors/safetensors_header.h"
#include "worker/checkpoint/scalar_types.h"

#include <torch/csrc/autograd/grad_mode.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace rtrain {
namespace {

[[noreturn]] void fail_shared(const std::filesystem::path& path, const std::string& why) {
  throw std::runtime_error(path.string() + ": " + why);
}

struct Placed {
  const StatePiece* piece;
  std::uint64_t at;  ///< of its whole tensor, in the file
};

struct Layout {
  std::string head;
  std::vector<Placed> tensors;
  std::uint64_t size = 0;
};

/// The same on every rank: it depends on names, shapes and types only.
Layout layout_of(const std::filesystem::path& path, const SharedFile& file) {
  std::vector<const StateTree::value_type*> entries;
  for (const auto& entry : file.tensors) entries.push_back(&entry);
  // As in save_safetensors(): every tensor lies at a multiple of its element size.
  std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
    return a->second.tensor.element_size() > b->second.tensor.element_size();
  });
  tensors::SafetensorsHeader header;
  header.metadata = file.metadata;
  Layout layout;
  std::uint64_t offset = 0;
  for (const auto* entry : entries) {
    const auto& [name, piece] = *entry;
    const auto* dtype = files::dtype_of(piece.tensor.scalar_type());
    if (dtype == nullptr || piece.tensor.layout() != at::kStrided)
      fail_shared(path, "tensor \"" + name +
                            "\" cannot be represented: " + c10::toString(piece.tensor.scalar_type()) + ", " +
                            c10::str(piece.tensor.layout()));
    const auto end = offset + static_cast<std::uint64_t>(piece.numel() * piece.tensor.element_size());
    header.tensors.push_back({name, dtype, piece.shape, offset, end});
    layout.tensors.push_back({&piece, offset});
    offset = end;
  }
  try {
    layout.head = tensors::safetensors_head(header);
  } catch (const std::runtime_error& wrong) {
    fail_shared(path, wrong.what());
  }
  for (auto& placed : layout.tensors) placed.at += layout.head.size();
  layout.size = layout.head.size() + offset;
  return layout;
}

std::string_view bytes_of(const torch::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace

void begin_shared_file(CheckpointDraft& draft, const std::string& name, const std::filesystem::path& path,
                       const SharedFile& file) {
  const auto layout = layout_of(path, file);
  draft.write_ranges(name, layout.size,
                     [&](const CheckpointDraft::WriteAt& write) { write(0, layout.head); });
}

void write_shared_file(CheckpointDraft& draft, const std::string& name, const std::filesystem::path& path,
                       const SharedFile& file, bool wholes) {
  const torch::NoGradGuard no_grad;
  const auto layout = layout_of(path, file);
  const auto there = draft.open(name);
  if (there == nullptr)
    fail_shared(
        path,
        "rank 0's file is not in this rank's storage, and all ranks write into it: save to a file system "
        "that "
        "all nodes share");
  std::string head(layout.head.size(), '\0');
  if (there->size() == layout.size) there->read(0, head.data(), head.size());
  if (head != layout.head)
    fail_shared(path, "rank 0 has other names, shapes or types of tensors than this rank");
  draft.write_ranges(name, layout.size, [&](const CheckpointDraft::WriteAt& write) {
    for (const auto& [piece, at] : layout.tensors) {
      if (piece->tensor.numel() == 0 || (!piece->is_part && !wholes)) continue;
      const auto bytes = piece->tensor.detach().cpu().contiguous();
      write(at + static_cast<std::uint64_t>(piece->offset * bytes.element_size()), bytes_of(bytes));
    }
  });
}

}  // namespace rtrain
