#include "worker/supervision/load_time.h"

#include <algorithm>
#include <array>

namespace rtrain::supervision {
namespace {

constexpr std::array<std::string_view, 14> kPrefixes{"LD_",   "MALLOC_", "TORCH_",    "PYTORCH_", "ATEN_",
                                                     "C10_",  "MKL_",    "OMP_",      "GOMP_",    "KMP_",
                                                     "DNNL_", "ONEDNN_", "OPENBLAS_", "VECLIB_"};
constexpr std::string_view kLibraryPath = "LD_LIBRARY_PATH";

std::string value_in(const VariableMap& variables, std::string_view name) {
  const auto found = variables.find(std::string(name));
  return found == variables.end() ? "" : found->second;
}

}  // namespace

bool is_read_at_load(std::string_view name) {
  if (name == "OMP_NUM_THREADS") return false;
  return name == "GLIBC_TUNABLES" ||
         std::ranges::any_of(kPrefixes, [&](std::string_view prefix) { return name.starts_with(prefix); });
}

std::vector<std::string> read_too_early(const VariableList& wanted, const VariableMap& loaded) {
  std::vector<std::string> names;
  for (const auto& [name, value] : wanted) {
    const auto there = loaded.find(name);
    if (is_read_at_load(name) && (there == loaded.end() || there->second != value)) names.push_back(name);
  }
  return names;
}

std::string library_path(const VariableList& wanted, const VariableMap& loaded) {
  const auto asked = std::ranges::find(
      wanted, kLibraryPath, [](const auto& variable) -> std::string_view { return variable.first; });
  const auto first = asked == wanted.end() ? std::string() : asked->second,
             second = value_in(loaded, kLibraryPath);
  if (first.empty() || second.empty() || first == second) return first.empty() ? second : first;
  return first + ":" + second;
}

}  // namespace rtrain::supervision
