// Python's pickles, as far as checkpoints need them: read into plain values, never executed.
//
// A pickle is a program that can call anything. Here it can name what pickle_names.cpp lists and nothing
// else; the rest is refused by its name. Time and memory grow linearly with the text.
#pragma once

#include "common/base/result.h"
#include "proto/tensors/dtype.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::tensors {

inline constexpr std::size_t kPickleBytesMax = 64u << 20;
inline constexpr std::size_t kPickleValuesMax = 4u << 20;
/// How deep containers are nested. proto::kUserDepthMax, so that the values can become JSON.
inline constexpr std::uint32_t kPickleDepthMax = 64;

enum class ValueKind : std::uint8_t {
  kNone,
  kBool,     ///< integer
  kInt,      ///< integer
  kBigInt,   ///< text: hexadecimal, two's complement
  kFloat,    ///< real
  kText,     ///< text
  kBytes,    ///< text
  kList,     ///< items
  kTuple,    ///< items; torch.Size too
  kSet,      ///< items
  kDict,     ///< items: key, value, key, value; each text and number is a key at most once
  kDtype,    ///< text: "float32"
  kDevice,   ///< text: "cuda:0"
  kTensor,   ///< integer: index in Pickle::tensors
  kName,     ///< of a class or function; integer: which. Not in what unpickle() returns
  kStorage,  ///< integer: which. Not in what unpickle() returns
};

struct Value {
  ValueKind kind = ValueKind::kNone;
  union {
    std::int64_t integer = 0;
    double real;
  };
  std::string text;
  std::vector<std::uint32_t> items;  ///< indices in Pickle::values; a value may be an item of several
};

/// Numbers of the tensor as they were given: torch_file.cpp holds them against the file.
struct PickledTensor {
  const Dtype* dtype = nullptr;
  std::string storage;              ///< "0": archive/data/0
  std::uint64_t storage_bytes = 0;  ///< that the pickle claims
  std::uint64_t offset = 0;         ///< in elements
  std::vector<std::int64_t> shape, strides;
};

/// What is reachable from the root is nested at most kPickleDepthMax deep, holds no value within itself and
/// unfolds to at most kPickleValuesMax values: whoever walks it may recurse.
struct Pickle {
  std::vector<Value> values;
  std::uint32_t root = 0;
  std::vector<PickledTensor> tensors;

  [[nodiscard]] const Value& at(std::uint32_t index) const { return values[index]; }
  /// The value of a text key; null: none, or `dict` is no dict.
  [[nodiscard]] const Value* find(const Value& dict, std::string_view key) const;
};

/// kIo: one sentence without the file's name, with the way out as its hint.
[[nodiscard]] Result<Pickle> unpickle(std::string_view text);

/// A tensor for pickle_state_dict(): contiguous, alone in its storage.
struct StateEntry {
  std::string_view name;
  const Dtype* dtype;
  const std::vector<std::int64_t>& shape;
};
/// An OrderedDict of tensors that torch.load(weights_only=True) reads; the i-th has storage "i".
[[nodiscard]] std::string pickle_state_dict(const std::vector<StateEntry>& entries);

}  // namespace rtrain::tensors
