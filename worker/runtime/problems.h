// What is wrong with options or inputs, all of it in one error.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rtrain {

class Problems {
 public:
  void add(std::string text) { all_.push_back(std::move(text)); }
  void expect(bool holds, const std::string& text) {
    if (!holds) add(text);
  }
  /// "<name> is <found>, expected <expected>"
  void expect(bool holds, const std::string& name, const std::string& found, const std::string& expected) {
    if (!holds) add(name + " is " + found + ", expected " + expected);
  }
  [[nodiscard]] bool none() const { return all_.empty(); }
  /// @throws std::invalid_argument "<place>: <problem>", or one a line.
  void throw_if_any(const std::string& place) const {
    if (all_.size() == 1) throw std::invalid_argument(place + ": " + all_.front());
    if (!all_.empty()) throw std::invalid_argument(place + ":" + lines());
  }
  /// @throws std::invalid_argument "<place>: these options cannot be used:" and a line for each.
  void throw_if_any_option(const std::string& place) const {
    if (!all_.empty()) throw std::invalid_argument(place + ": these options cannot be used:" + lines());
  }

 private:
  [[nodiscard]] std::string lines() const {
    std::string text;
    for (const auto& problem : all_) text += "\n  " + problem;
    return text;
  }
  std::vector<std::string> all_;
};

}  // namespace rtrain
