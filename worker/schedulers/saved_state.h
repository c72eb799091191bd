// A scheduler's state as a checkpoint has it, read with errors that name what is missing.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace rtrain::schedulers {

/// Every function: @throws std::invalid_argument the value is missing or of another kind.
class SavedState {
 public:
  /// @param type of the scheduler that reads it. @lifetime `state` must outlive it.
  SavedState(const nlohmann::json& state, std::string type);
  [[nodiscard]] const nlohmann::json& at(const std::string& key) const;
  [[nodiscard]] double number(const std::string& key) const;
  [[nodiscard]] std::int64_t whole(const std::string& key) const;
  /// @param count how many there must be: one for each parameter group.
  [[nodiscard]] std::vector<double> numbers(const std::string& key, std::size_t count) const;
  [[noreturn]] void fail(const std::string& what) const;

 private:
  const nlohmann::json& state_;
  std::string type_;
};

/// "StepLR: step_size must be 1 or more".
inline void require(bool holds, const std::string& type, const std::string& what) {
  if (!holds) throw std::invalid_argument(type + ": " + what);
}
inline std::string found(double value) { return ", found " + std::to_string(value); }

}  // namespace rtrain::schedulers
