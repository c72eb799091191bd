// Values as the errors of metrics show them.
#pragma once

#include <torch/types.h>

#include <sstream>
#include <string>

namespace rtrain::metrics {

[[nodiscard]] inline std::string shape_of(const torch::Tensor& tensor) {
  std::string text = "[";
  for (const auto size : tensor.sizes()) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

[[nodiscard]] inline std::string shown(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

}  // namespace rtrain::metrics
