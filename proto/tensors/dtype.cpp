#include "proto/tensors/dtype.h"

#include <algorithm>
#include <array>

namespace rtrain::tensors {
namespace {

constexpr std::array kDtypes{
    Dtype{"F64", 8, "float64", "DoubleStorage", true},
    Dtype{"I64", 8, "int64", "LongStorage", true},
    Dtype{"F32", 4, "float32", "FloatStorage", true},
    Dtype{"I32", 4, "int32", "IntStorage", true},
    Dtype{"F16", 2, "float16", "HalfStorage", true},
    Dtype{"BF16", 2, "bfloat16", "BFloat16Storage", true},
    Dtype{"I16", 2, "int16", "ShortStorage", true},
    Dtype{"I8", 1, "int8", "CharStorage", true},
    Dtype{"U8", 1, "uint8", "ByteStorage", true},
    Dtype{"BOOL", 1, "bool", "BoolStorage", true},
    Dtype{"U64", 8, "uint64", "", true},
    Dtype{"U32", 4, "uint32", "", true},
    Dtype{"U16", 2, "uint16", "", true},
    Dtype{"F8_E4M3", 1, "float8_e4m3fn", "", true},
    Dtype{"F8_E5M2", 1, "float8_e5m2", "", true},
    Dtype{"F8_E8M0", 1, "float8_e8m0fnu", "", true},
    Dtype{"C64", 8, "complex64", "ComplexFloatStorage", true},
    Dtype{"C128", 16, "complex128", "ComplexDoubleStorage", false},
};

const Dtype* find(std::string_view name, std::string_view Dtype::*field) {
  if (name.empty()) return nullptr;
  const auto* found = std::ranges::find(kDtypes, name, field);
  return found == kDtypes.end() ? nullptr : found;
}

}  // namespace

std::span<const Dtype> dtypes() { return kDtypes; }

const Dtype* find_dtype(std::string_view name) {
  const auto* found = find(name, &Dtype::name);
  return found != nullptr && found->in_safetensors ? found : nullptr;
}
const Dtype* find_torch_dtype(std::string_view name) { return find(name, &Dtype::torch); }
const Dtype* find_torch_storage(std::string_view name) { return find(name, &Dtype::storage); }

}  // namespace rtrain::tensors
