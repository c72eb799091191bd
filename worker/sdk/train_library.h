// The training functions of this process and of libraries loaded into it.
#pragma once

#include <rtrain/registry.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace rtrain::sdk {

/// Thrown for a library that cannot be used, with what and why, for RankError kind "load".
class LoadError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// "was built with rtrain 0.0.9, LibTorch 2.10.0, ...; this worker is rtrain 0.1.0, ..."; std::nullopt if the
/// tags are equal.
[[nodiscard]] RTRAIN_API std::optional<std::string> abi_mismatch(std::string_view library_tag);
/// The first tag in the bytes of a library file that differs from ours; std::nullopt if there is none.
[[nodiscard]] RTRAIN_API std::optional<std::string> foreign_tag_in(std::string_view bytes);

/// Loads `library` and returns the function `name` (empty: the only one).
/// @throws LoadError for a missing file, another SDK version, an error of dlopen, or an unknown function
///        (lists the known ones).
[[nodiscard]] RTRAIN_API TrainFunction load_train_function(const std::string& library,
                                                           const std::string& name);

}  // namespace rtrain::sdk
