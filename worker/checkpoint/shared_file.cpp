#include "worker/checkpoint/shared_file.h"

#include "worker/checkpoint/safetensors_layout.h"

#include <torch/csrc/autograd/grad_mode.h>
#include <torch/types.h>

#include <cstdint>
#include <stdexcept>
#include <string_view>

namespace rtrain {
namespace {

[[noreturn]] void fail_shared(const std::filesystem::path& path, const std::string& why) {
  throw std::runtime_error(path.string() + ": " + why);
}

std::string_view bytes_of(const torch::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace

void begin_shared_file(CheckpointDraft& draft, const std::string& name, const std::filesystem::path& path,
                       const SharedFile& file) {
  const auto layout = files::lay_out(path, file.tensors, file.metadata);
  draft.write_ranges(name, layout.size,
                     [&](const CheckpointDraft::WriteAt& write) { write(0, layout.head); });
}

void write_shared_file(CheckpointDraft& draft, const std::string& name, const std::filesystem::path& path,
                       const SharedFile& file, bool wholes) {
  const torch::NoGradGuard no_grad;
  const auto layout = files::lay_out(path, file.tensors, file.metadata);
  const auto there = draft.open(name);
  if (there == nullptr)
    fail_shared(path,
                "rank 0's file is not in this rank's storage, and all ranks write into it: save to a file "
                "system that all nodes share");
  std::string head(layout.head.size(), '\0');
  if (there->size() == layout.size) there->read(0, head.data(), head.size());
  if (head != layout.head)
    fail_shared(path, "rank 0 has other names, shapes or types of tensors than this rank");
  draft.write_ranges(name, layout.size, [&](const CheckpointDraft::WriteAt& write) {
    for (const auto& [piece, at] : layout.tensors) {
      if (piece->tensor.numel() == 0 || (!piece->is_part && !wholes)) continue;
      const auto bytes = piece->tensor.detach().cpu().contiguous();
      const auto all = bytes_of(bytes);
      const auto at_element = [&, at = at](std::int64_t element) {
        return at + static_cast<std::uint64_t>(element * bytes.element_size());
      };
      if (piece->is_range()) {
        write(at_element(piece->offset), all);
        continue;
      }
      const auto length = static_cast<std::size_t>(piece->runs.length * bytes.element_size());
      auto element = piece->offset;
      for (std::size_t from = 0; from < all.size(); from += length, element += piece->runs.stride)
        write(at_element(element), all.substr(from, length));
    }
  });
}

}  // namespace rtrain
