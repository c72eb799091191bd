// What is wrong with options or inputs, all of it in one error.
#pragma once

#include <torch/types.h>

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rtrain::metrics {

class Problems {
 public:
  void add(std::string text) { all_.push_back(std::move(text)); }
  void expect(bool holds, const std::string& text) {
    if (!holds) add(text);
  }
  [[nodiscard]] bool none() const { return all_.empty(); }
  /// @throws std::invalid_argument "<place>: <problem>", or one a line.
  void throw_if_any(const std::string& place) const {
    if (all_.empty()) return;
    if (all_.size() == 1) throw std::invalid_argument(place + ": " + all_.front());
    std::string text = place + ":";
    for (const auto& problem : all_) text += "\n  " + problem;
    throw std::invalid_argument(text);
  }

 private:
  std::vector<std::string> all_;
};

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
