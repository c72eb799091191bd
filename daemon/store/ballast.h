// Space that is given back to the disk when it is full, so that the ends of running jobs can still be stored.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <string>

namespace rtrain::store {

/// "no space left in /var/lib/rtrain/head (12 MiB free)"
[[nodiscard]] std::string no_space_in(const std::string& state_dir);

/// A file of a fixed size in the state folder. @thread one
class Ballast {
 public:
  /// @param bytes 0: there is none, and it always counts as there
  Ballast(std::string state_dir, std::int64_t bytes);
  [[nodiscard]] bool there() const { return there_; }
  /// Gives the space back. False when there was none.
  bool free();
  /// Takes the space again. False: there is not enough room for it and some more; `why` says how much there
  /// is.
  bool fill(std::string& why);

 private:
  std::string path_, state_dir_;
  std::int64_t bytes_;
  bool there_;
};

}  // namespace rtrain::store
