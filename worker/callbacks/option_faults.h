// What is wrong with a callback's options, all of it in one error.
#pragma once

#include <stdexcept>
#include <string>

namespace rtrain {

class OptionFaults {
 public:
  void add(const std::string& text) { faults_ += "\n  " + text; }
  void expect(bool holds, const std::string& name, const std::string& found, const std::string& expected) {
    if (!holds) add(name + " is " + found + ", expected " + expected);
  }
  /// @throws std::invalid_argument "<callback>: these options cannot be used:" and a line for each.
  void throw_if_any(const std::string& callback) const {
    if (!faults_.empty()) throw std::invalid_argument(callback + ": these options cannot be used:" + faults_);
  }

 private:
  std::string faults_;
};

}  // namespace rtrain
