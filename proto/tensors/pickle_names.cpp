#include "proto/tensors/pickle_names.h"

#include "common/base/clip.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

namespace rtrain::tensors {
namespace {

enum class Name : std::int64_t {
  kOrderedDict,
  kDefaultDict,
  kRebuildTensor,         // also _rebuild_tensor_v2, which has more arguments
  kRebuildUntypedTensor,  // _rebuild_tensor_v3
  kRebuildParameter,
  kSize,
  kDevice,
  kSet,
  kEncode,
  kType,            // of builtins: what a defaultdict may be made with
  kUntypedStorage,  // the storages of a dtype follow: kStorages + its place in dtypes()
  kStorages = 1000,
};

struct Known {
  std::string_view module, name;
  Name meaning;
};
constexpr std::array kKnown{
    Known{"collections", "OrderedDict", Name::kOrderedDict},
    Known{"collections", "defaultdict", Name::kDefaultDict},
    Known{"torch._utils", "_rebuild_tensor", Name::kRebuildTensor},
    Known{"torch._utils", "_rebuild_tensor_v2", Name::kRebuildTensor},
    Known{"torch._utils", "_rebuild_tensor_v3", Name::kRebuildUntypedTensor},
    Known{"torch._utils", "_rebuild_parameter", Name::kRebuildParameter},
    Known{"torch", "Size", Name::kSize},
    Known{"torch", "device", Name::kDevice},
    Known{"torch", "UntypedStorage", Name::kUntypedStorage},
    Known{"torch.storage", "UntypedStorage", Name::kUntypedStorage},
    Known{"_codecs", "encode", Name::kEncode},  // what bytes are in protocol 2
    Known{"builtins", "set", Name::kSet},
    Known{"builtins", "frozenset", Name::kSet},
};
constexpr std::array<std::string_view, 7> kTypes{"list", "dict", "tuple", "int", "float", "str", "bool"};

constexpr std::size_t kStorageKeyBytesMax = 64;  // "17", "cuda"

std::optional<std::int64_t> meaning_of(std::string_view module, std::string_view name) {
  if (module == "__builtin__") module = "builtins";  // of Python 2, which protocol 2 writes
  for (const auto& known : kKnown)
    if (known.module == module && known.name == name) return static_cast<std::int64_t>(known.meaning);
  if (module == "builtins" && std::ranges::find(kTypes, name) != kTypes.end())
    return static_cast<std::int64_t>(Name::kType);
  if (const auto* dtype = find_torch_storage(name); dtype != nullptr && module == "torch")
    return static_cast<std::int64_t>(Name::kStorages) + (dtype - dtypes().data());
  return std::nullopt;
}

}  // namespace

void refuse_pickle(std::string why) { throw PickleRefusal{std::move(why)}; }

std::uint32_t ValueMaker::add(Value value) {
  if (made.values.size() >= kPickleValuesMax)
    refuse_pickle("the pickle makes more than " + std::to_string(kPickleValuesMax) + " values");
  made.values.push_back(std::move(value));
  return static_cast<std::uint32_t>(made.values.size() - 1);
}

std::uint32_t ValueMaker::add_text(ValueKind kind, std::string_view text) {
  Value value{.kind = kind};
  value.text = text;
  return add(std::move(value));
}

std::uint32_t ValueMaker::add_items(ValueKind kind, std::vector<std::uint32_t> items) {
  Value value{.kind = kind};
  value.items = std::move(items);
  return add(std::move(value));
}

std::uint32_t ValueMaker::add_integer(ValueKind kind, std::int64_t integer) {
  Value value{.kind = kind};
  value.integer = integer;
  return add(std::move(value));
}

std::uint32_t ValueMaker::name(std::string_view module, std::string_view name) {
  if (const auto meaning = meaning_of(module, name)) return add_integer(ValueKind::kName, *meaning);
  if (module == "torch" && find_torch_dtype(name) != nullptr) return add_text(ValueKind::kDtype, name);
  refuse_pickle("it holds an object of Python, " + clipped(module, 100) + "." + clipped(name, 100) +
                ", which is not executed");
}

std::uint32_t ValueMaker::call(std::uint32_t callable, std::uint32_t arguments) {
  if (at(callable).kind != ValueKind::kName || at(arguments).kind != ValueKind::kTuple)
    refuse_pickle("the pickle calls what is no function");
  const auto& items = at(arguments).items;
  const auto wrong = [] { refuse_pickle("the pickle calls a function with arguments that do not fit it"); };
  switch (static_cast<Name>(at(callable).integer)) {
    case Name::kOrderedDict:
      if (!items.empty()) wrong();
      return add(ValueKind::kDict);
    case Name::kDefaultDict:  // the factory is for keys that are not there
      if (items.size() > 1) wrong();
      return add(ValueKind::kDict);
    case Name::kRebuildTensor: return rebuild_tensor(items, false);
    case Name::kRebuildUntypedTensor: return rebuild_tensor(items, true);
    case Name::kRebuildParameter:
      if (items.empty() || at(items[0]).kind != ValueKind::kTensor) wrong();
      return items[0];
    case Name::kSize:
      if (items.size() != 1) wrong();
      integers(items[0]);
      return add_items(ValueKind::kTuple, std::vector(at(items[0]).items));
    case Name::kDevice: return device(items);
    case Name::kSet:
      if (items.empty()) return add(ValueKind::kSet);
      if (items.size() > 1 ||
          (at(items[0]).kind != ValueKind::kList && at(items[0]).kind != ValueKind::kTuple))
        wrong();
      spend(at(items[0]).items.size() * sizeof(std::uint32_t));
      return add_items(ValueKind::kSet, std::vector(at(items[0]).items));
    case Name::kEncode: return latin1_bytes(items);
    default: refuse_pickle("the pickle calls a type of Python that is only a name here");
  }
}

std::uint32_t ValueMaker::storage(std::uint32_t id) {
  const auto& items = at(id).items;
  if (at(id).kind != ValueKind::kTuple || items.size() != 5 || at(items[0]).text != "storage" ||
      at(items[1]).kind != ValueKind::kName || at(items[2]).kind != ValueKind::kText)
    refuse_pickle("the pickle refers to something outside that is no storage of a tensor");
  if (at(items[2]).text.size() > kStorageKeyBytesMax) refuse_pickle("a storage has a name that is too long");
  const auto meaning = at(items[1]).integer;
  const auto first = static_cast<std::int64_t>(Name::kStorages);
  const Dtype* dtype = meaning >= first ? &dtypes()[static_cast<std::size_t>(meaning - first)] : nullptr;
  if (dtype == nullptr && meaning != static_cast<std::int64_t>(Name::kUntypedStorage))
    refuse_pickle("the pickle refers to a storage of an unknown type");
  const auto count = integer(items[4]);
  const auto width = static_cast<std::int64_t>(dtype == nullptr ? 1 : dtype->bytes);
  if (count < 0 || count > std::numeric_limits<std::int64_t>::max() / width)
    refuse_pickle("storage \"" + clipped(at(items[2]).text, 50) + "\" has a size that cannot be");
  storages_.push_back({dtype, at(items[2]).text, static_cast<std::uint64_t>(count * width)});
  return add_integer(ValueKind::kStorage, static_cast<std::int64_t>(storages_.size() - 1));
}

void ValueMaker::set_state(std::uint32_t object) {
  // torch.nn.Module.state_dict() keeps the versions of its modules there.
  if (at(object).kind != ValueKind::kDict)
    refuse_pickle("the pickle sets attributes of what is no OrderedDict");
}

std::uint32_t ValueMaker::rebuild_tensor(const std::vector<std::uint32_t>& arguments, bool untyped) {
  // storage, offset, size, stride, [requires_grad, hooks, [dtype if untyped], [metadata]]
  const std::size_t known = untyped ? 7 : 6;
  if (arguments.size() < (untyped ? 7u : 4u) || arguments.size() > known + 1 ||
      at(arguments[0]).kind != ValueKind::kStorage)
    refuse_pickle("the pickle makes a tensor of arguments that do not fit");
  const auto& storage = storages_[static_cast<std::size_t>(at(arguments[0]).integer)];
  const auto offset = integer(arguments[1]);
  if (offset < 0) refuse_pickle("a tensor begins before its storage");
  PickledTensor tensor{storage.dtype,          storage.key,
                       storage.bytes,          static_cast<std::uint64_t>(offset),
                       integers(arguments[2]), integers(arguments[3])};
  if (untyped) {
    const auto& dtype = at(arguments[6]);
    if (dtype.kind != ValueKind::kDtype) refuse_pickle("a tensor has no dtype");
    tensor.dtype = find_torch_dtype(dtype.text);
  }
  if (tensor.dtype == nullptr) refuse_pickle("a tensor has no dtype");
  // Bits that say that the numbers are to be negated or conjugated when they are read.
  if (arguments.size() > known) {
    const auto& metadata = at(arguments[known]);
    if (metadata.kind != ValueKind::kNone && !metadata.items.empty())
      refuse_pickle("a tensor is a conjugated or negated view of its numbers, which is not read");
  }
  made.tensors.push_back(std::move(tensor));
  return add_integer(ValueKind::kTensor, static_cast<std::int64_t>(made.tensors.size() - 1));
}

std::uint32_t ValueMaker::latin1_bytes(const std::vector<std::uint32_t>& arguments) {
  if (arguments.size() != 2 || at(arguments[0]).kind != ValueKind::kText || at(arguments[1]).text != "latin1")
    refuse_pickle("the pickle encodes text in another way than bytes are written");
  const auto& text = at(arguments[0]).text;
  spend(text.size());
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto first = static_cast<unsigned char>(text[i]);
    if (first < 0x80) {
      bytes += text[i];
    } else {  // U+0080 to U+00FF have two bytes in UTF-8
      const auto second = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
      if ((first != 0xC2 && first != 0xC3) || (second & 0xC0) != 0x80)
        refuse_pickle("the pickle encodes text in another way than bytes are written");
      bytes += static_cast<char>((first & 3) << 6 | (second & 0x3F));
      ++i;
    }
  }
  return add_text(ValueKind::kBytes, bytes);
}

std::uint32_t ValueMaker::device(const std::vector<std::uint32_t>& arguments) {
  if (arguments.empty() || arguments.size() > 2 || at(arguments[0]).kind != ValueKind::kText ||
      at(arguments[0]).text.size() > kStorageKeyBytesMax)
    refuse_pickle("the pickle makes a device of arguments that do not fit");
  std::string text = at(arguments[0]).text;
  if (arguments.size() == 2) text += ":" + std::to_string(integer(arguments[1]));
  return add_text(ValueKind::kDevice, text);
}

void ValueMaker::spend(std::size_t bytes) {
  spent_ += bytes;
  if (spent_ > kPickleBytesMax) refuse_pickle("the pickle copies the same values too often");
}

std::vector<std::int64_t> ValueMaker::integers(std::uint32_t tuple) {
  const auto& value = at(tuple);
  if (value.kind != ValueKind::kTuple && value.kind != ValueKind::kList)
    refuse_pickle("a tensor's shape is no tuple");
  // Each tensor has its own copy, and many may have the same tuple.
  if (value.items.size() > 64) refuse_pickle("a tensor has more than 64 dimensions");
  std::vector<std::int64_t> numbers;
  for (const auto item : value.items) numbers.push_back(integer(item));
  return numbers;
}

std::int64_t ValueMaker::integer(std::uint32_t index) {
  if (at(index).kind != ValueKind::kInt)
    refuse_pickle("the pickle has something else where a whole number is expected");
  return at(index).integer;
}

}  // namespace rtrain::tensors
