// What to do when the ranks' tensors differ in size.
#pragma once

#include <string>

namespace rtrain::runtime {

/// The way out, to be put behind what Gloo says of a message whose length is not the expected one; "" of
/// anything else.
[[nodiscard]] inline std::string size_hint(const std::string& cause) {
  if (cause.find("preamble.length") == std::string::npos) return "";
  return "; the ranks' tensors differ in size: rtrain debug shows what each rank called, and "
         "RTRAIN_DEBUG_COLLECTIVES=1 in the job's env names them before it happens";
}

}  // namespace rtrain::runtime
