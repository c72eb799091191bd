#include "worker/checkpoint/scalar_types.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

namespace rtrain::files {
namespace {

struct TypeName {
  std::string_view name;
  at::ScalarType type;
};
constexpr std::array kTypes{TypeName{"F64", at::kDouble},
                            TypeName{"I64", at::kLong},
                            TypeName{"F32", at::kFloat},
                            TypeName{"I32", at::kInt},
                            TypeName{"F16", at::kHalf},
                            TypeName{"BF16", at::kBFloat16},
                            TypeName{"I16", at::kShort},
                            TypeName{"I8", at::kChar},
                            TypeName{"U8", at::kByte},
                            TypeName{"BOOL", at::kBool},
                            TypeName{"U64", at::kUInt64},
                            TypeName{"U32", at::kUInt32},
                            TypeName{"U16", at::kUInt16},
                            TypeName{"F8_E4M3", at::kFloat8_e4m3fn},
                            TypeName{"F8_E5M2", at::kFloat8_e5m2},
                            TypeName{"F8_E8M0", at::kFloat8_e8m0fnu},
                            TypeName{"C128", at::kComplexDouble},
                            TypeName{"C64", at::kComplexFloat}};

}  // namespace

at::ScalarType scalar_type_of(const tensors::Dtype& dtype) {
  const auto* found = std::ranges::find(kTypes, dtype.name, &TypeName::name);
  if (found == kTypes.end()) throw std::logic_error("no type of LibTorch for " + std::string(dtype.name));
  return found->type;
}

const tensors::Dtype* dtype_of(at::ScalarType type) {
  const auto* found = std::ranges::find(kTypes, type, &TypeName::type);
  return found == kTypes.end() ? nullptr : tensors::find_dtype(found->name);
}

}  // namespace rtrain::files
