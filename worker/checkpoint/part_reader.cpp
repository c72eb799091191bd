#include "worker/checkpoint/part_reader.h"

#include "worker/checkpoint/safetensors_input.h"
#include "worker/checkpoint/scalar_types.h"

#include <ATen/ops/empty.h>

namespace rtrain {
namespace {

std::optional<ElementRange> range_in(const StateTree& own, const std::string& name,
                                     const std::vector<std::int64_t>& shape) {
  const auto found = own.find(name);
  if (found == own.end() || !found->second.is_part || found->second.shape != shape ||
      found->second.numel() <= 1)
    return std::nullopt;
  return ElementRange{found->second.offset, found->second.tensor.numel()};
}

}  // namespace

ChooseElements elements_of(const StateTree& own) {
  return [own](const std::string& name, const std::vector<std::int64_t>& shape) {
    return range_in(own, name, shape);
  };
}

ChooseElements elements_of_optimizers(const StateTree& own) {
  return
      [own](const std::string& name, const std::vector<std::int64_t>& shape) -> std::optional<ElementRange> {
        const auto begin = name.find('.'), end = name.rfind('.');
        if (begin == end) return std::nullopt;  // as version 2 named them
        return range_in(own, name.substr(begin + 1, end - begin - 1), shape);
      };
}

StateTree read_part(CheckpointFile& file, const std::filesystem::path& path, const ChooseElements& choose,
                    bool is_first, Crc32cPieces& sum) {
  const auto crc_of = [](std::string_view bytes) {
    Crc32c crc;
    crc.add(bytes);
    return crc.value();
  };
  const auto head = files::read_head(file, path);
  if (is_first) sum.add(crc_of(head.bytes), 0, head.bytes.size());
  StateTree tree;
  for (const auto& described : head.header.tensors) {
    const auto type = files::scalar_type_of(*described.dtype);
    const auto range = choose(described.name, described.shape);
    auto tensor = at::empty(range ? std::vector{range->count} : described.shape, type);
    const auto skipped = range ? static_cast<std::uint64_t>(range->first * tensor.element_size()) : 0;
    const auto at = head.bytes.size() + described.begin + skipped;
    Crc32c crc;
    files::read_summed(file, tensor.mutable_data_ptr(), tensor.nbytes(), at, crc);
    if (range || is_first) sum.add(crc.value(), at, tensor.nbytes());
    files::require_booleans(tensor, described.name, path);
    tree.emplace(described.name, range ? StatePiece(std::move(tensor), described.shape, range->first)
                                       : StatePiece(std::move(tensor)));
  }
  return tree;
}

}  // namespace rtrain
