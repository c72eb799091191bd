// Which variables of a rank's environment are read once, when a process is loaded: a rank that is forked from
// a loaded process would not see them. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rtrain::supervision {

using VariableList = std::vector<std::pair<std::string, std::string>>;
using VariableMap = std::map<std::string, std::string>;

/// LD_*, GLIBC_TUNABLES, MALLOC_*, TORCH_*, PYTORCH_*, ATEN_*, C10_*, MKL_*, OMP_*, GOMP_*, KMP_*, DNNL_*,
/// ONEDNN_*, OPENBLAS_*, VECLIB_*. Not OMP_NUM_THREADS, which every rank applies itself.
[[nodiscard]] bool is_read_at_load(std::string_view name);
/// The names in `wanted` that are read at load and have another value than in `loaded`, the environment of
/// the process that would be forked.
[[nodiscard]] std::vector<std::string> read_too_early(const VariableList& wanted, const VariableMap& loaded);
/// What LD_LIBRARY_PATH is for a process that is loaded anew with the rank's environment: the job's folders,
/// then those by which the loaded process found LibTorch. "": unset.
[[nodiscard]] std::string library_path(const VariableList& wanted, const VariableMap& loaded);

}  // namespace rtrain::supervision
