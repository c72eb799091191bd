// The train functions of this process, and those of a library that is loaded into it.
#pragma once

#include <rtrain/registry.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace rtrain::sdk {

/// A library that cannot be used: what and why, for RankError kind "load".
class LoadError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// "was built with rtrain 0.0.9, LibTorch 2.10.0, ...; this worker is rtrain 0.1.0, ..."; nothing when the
/// tags are the same.
[[nodiscard]] RTRAIN_API std::optional<std::string> abi_mismatch(std::string_view library_tag);
/// The first tag in the bytes of a library's file that is not ours; nothing when there is none.
[[nodiscard]] RTRAIN_API std::optional<std::string> foreign_tag_in(std::string_view bytes);

/// Loads `library` and gives the function called `name` (empty: the only one).
/// @throws LoadError no file, another SDK version, what dlopen said, no such function (the names there are
/// listed).
[[nodiscard]] RTRAIN_API TrainFunction load_train_function(const std::string& library,
                                                           const std::string& name);

}  // namespace rtrain::sdk
