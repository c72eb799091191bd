// Pickles, and whole archives of torch.save, which begin with PK.
#include "tests/fuzz/fuzz.h"

#include "proto/tensors/torch_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <string>

using namespace rtrain;
using fuzz::require;

namespace {

void check_error(const Error& error) { require(error.message().size() < 4096, "an error is short"); }

/// What struct Pickle promises.
void check_value(const tensors::Pickle& pickle, std::uint32_t index, std::uint32_t depth) {
  require(index < pickle.values.size(), "an item is a value");
  require(depth <= tensors::kPickleDepthMax + 1, "the depth is bounded");
  const auto& value = pickle.at(index);
  require(value.kind != tensors::ValueKind::kName && value.kind != tensors::ValueKind::kStorage,
          "no names or storages are handed out");
  if (value.kind == tensors::ValueKind::kTensor)
    require(static_cast<std::size_t>(value.integer) < pickle.tensors.size(),
            "a tensor is one of the tensors");
  if (value.kind == tensors::ValueKind::kDict) require(value.items.size() % 2 == 0, "keys have values");
  for (const auto item : value.items) check_value(pickle, item, depth + 1);
}

void check_archive(std::string_view bytes) {
  const int fd = ::memfd_create("archive", MFD_CLOEXEC);
  require(fd >= 0 && ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "memfd");
  const auto file = tensors::open_torch_file("/proc/self/fd/" + std::to_string(fd));
  ::close(fd);
  if (!file) return check_error(file.error());
  for (const auto& tensor : file->tensors) {
    require(tensor.storage + tensor.storage_bytes <= bytes.size(), "a storage lies in the file");
    require(
        (tensor.offset + tensor.span()) * tensor.dtype->bytes <= tensor.storage_bytes || tensor.span() == 0,
        "a tensor lies in its storage");
  }
  const auto content = tensors::content_of(*file);
  if (!content) return check_error(content.error());
  (void)proto::dump_json(content->plain);
  for (const auto& tensor : content->weights) {
    if (tensor.bytes() > 1u << 20 || tensor.span() > 1u << 20) continue;
    tensors::TensorReader reader(tensor);
    for (auto piece = reader.next(); piece && !piece->empty(); piece = reader.next()) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  if (text.starts_with("PK")) {
    check_archive(text);
    return 0;
  }
  const auto pickle = tensors::unpickle(text);
  if (pickle)
    check_value(*pickle, pickle->root, 1);
  else
    check_error(pickle.error());
  return 0;
}
