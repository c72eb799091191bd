#include "proto/tensors/safetensors_file.h"

#include "common/os/file.h"
#include "common/os/new_file.h"
#include "proto/tensors/little_endian.h"

#include <algorithm>
#include <stdexcept>

namespace rtrain::tensors {
namespace {

Error broken(const std::string& path, const std::string& why) { return fail(Errc::kIo, path + ": " + why); }

}  // namespace

Result<SafetensorsFile> open_safetensors(const std::string& path) {
  auto file = os::OpenFile::open(path);
  if (!file) return file.error();
  const auto size = (*file)->size();
  if (size < 8) return broken(path, "too short for a safetensors file (" + std::to_string(size) + " bytes)");
  auto first = (*file)->text(0, 8);
  if (!first) return first.error();
  const auto header_size = number_at<std::uint64_t>(*first, 0);
  if (header_size > kSafetensorsHeaderBytesMax)
    return broken(path, "no safetensors file: it claims a header of " + std::to_string(header_size) +
                            " bytes, over the format's 100,000,000");
  if (header_size > size - 8) return broken(path, "the file ends within its header");
  auto text = (*file)->text(8, header_size);
  if (!text) return text.error();
  SafetensorsFile opened{*file, {}, {}};
  const auto data = 8 + header_size;
  try {
    auto header = parse_safetensors_header(*text, size - data);
    opened.metadata = std::move(header.metadata);
    for (auto& stored : header.tensors) {
      auto strides = contiguous_strides(stored.shape);
      opened.tensors.push_back({std::move(stored.name), stored.dtype, std::move(stored.shape),
                                std::move(strides), *file, data + stored.begin, stored.end - stored.begin,
                                0});
    }
  } catch (const std::runtime_error& wrong) {
    return broken(path, wrong.what());
  }
  return opened;
}

Result<Done> write_safetensors(const std::string& path, const std::vector<Tensor>& tensors,
                               const std::map<std::string, std::string>& metadata) {
  std::vector<const Tensor*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  // Wide types first: every tensor lies at a multiple of its element's size.
  std::ranges::stable_sort(order, std::greater{}, [](const Tensor* tensor) { return tensor->dtype->bytes; });
  SafetensorsHeader header{{}, metadata};
  std::uint64_t at = 0;
  for (const auto* tensor : order) {
    if (!tensor->dtype->in_safetensors)
      return broken(path, "tensor \"" + tensor->name + "\" is " + std::string(tensor->dtype->torch) +
                              ", which safetensors cannot hold");
    header.tensors.push_back({tensor->name, tensor->dtype, tensor->shape, at, at + tensor->bytes()});
    at += tensor->bytes();
  }
  std::string head;
  try {
    head = safetensors_head(header);
  } catch (const std::runtime_error& wrong) {
    return broken(path, wrong.what());
  }
  auto file = os::NewFile::create(path);
  if (!file) return file.error();
  if (auto done = (*file)->write(head); !done) return done;
  for (const auto* tensor : order) {
    TensorReader reader(*tensor);
    for (;;) {
      auto piece = reader.next();
      if (!piece) return piece.error();
      if (piece->empty()) break;
      if (auto done = (*file)->write(*piece); !done) return done;
    }
  }
  return (*file)->commit();
}

}  // namespace rtrain::tensors
