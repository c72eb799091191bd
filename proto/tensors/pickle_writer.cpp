#include "proto/tensors/little_endian.h"
#include "proto/tensors/pickle.h"
#include "proto/tensors/tensor.h"

#include <limits>

namespace rtrain::tensors {
namespace {

/// Protocol 2, which every Python 3 reads, without a memo: nothing is named twice but short names.
class Writer {
 public:
  std::string text = "\x80\x02";

  void op(std::string_view opcodes) { text += opcodes; }
  void name(std::string_view module, std::string_view name) {
    text += "c";
    text.append(module).append("\n").append(name).append("\n");
  }
  void words(std::string_view words) {
    text += "X";
    put_number<std::uint32_t>(text, static_cast<std::uint32_t>(words.size()));
    text += words;
  }
  void integer(std::int64_t value) {
    if (value >= 0 && value <= std::numeric_limits<std::int32_t>::max()) {
      text += "J";
      put_number<std::uint32_t>(text, static_cast<std::uint32_t>(value));
    } else {
      text += "\x8a\x08";
      put_number<std::uint64_t>(text, static_cast<std::uint64_t>(value));
    }
  }
  void integers(const std::vector<std::int64_t>& values) {
    text += "(";
    for (const auto value : values) integer(value);
    text += "t";
  }
};

void put_tensor(Writer& out, const StateEntry& entry, std::size_t storage) {
  std::int64_t count = 1;
  for (const auto n : entry.shape) count *= n;
  const bool untyped = entry.dtype->storage.empty();
  out.name("torch._utils", untyped ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
  out.op("((");
  out.words("storage");
  untyped ? out.name("torch.storage", "UntypedStorage") : out.name("torch", entry.dtype->storage);
  out.words(std::to_string(storage));
  out.words("cpu");
  out.integer(untyped ? count * static_cast<std::int64_t>(entry.dtype->bytes) : count);
  out.op("tQ");  // the storage, by its name in the archive
  out.integer(0);
  out.integers(entry.shape);
  out.integers(contiguous_strides(entry.shape));
  out.op("\x89");  // requires_grad: False
  out.name("collections", "OrderedDict");
  out.op(")R");  // no hooks
  if (untyped) out.name("torch", entry.dtype->torch);
  out.op("tR");
}

}  // namespace

std::string pickle_state_dict(const std::vector<StateEntry>& entries) {
  Writer out;
  out.name("collections", "OrderedDict");
  out.op(")R(");
  for (std::size_t i = 0; i < entries.size(); ++i) {
    out.words(entries[i].name);
    put_tensor(out, entries[i], i);
  }
  out.op("u.");
  return out.text;
}

}  // namespace rtrain::tensors
