#include "proto/jobspec/positions.h"

#include <cctype>
#include <cstddef>

namespace rtrain::proto {
namespace {

/// Walks a text that is known to be valid JSON; at the first surprise it stops and keeps what it has.
class PositionScan {
 public:
  explicit PositionScan(std::string_view text) : text_(text) {}

  std::map<std::string, Position> run() {
    value("");
    return std::move(found_);
  }

 private:
  bool value(const std::string& path) {
    blanks();
    if (at_end()) return false;
    if (peek() == '{') return object(path);
    if (peek() == '[') return array(path);
    if (peek() == '"') return string(nullptr);
    while (!at_end() && peek() != ',' && peek() != '}' && peek() != ']' && std::isspace(static_cast<unsigned char>(peek())) == 0) step();
    return true;
  }

  bool object(const std::string& path) {
    step();
    for (blanks(); !at_end() && peek() != '}'; blanks()) {
      const Position place{line_, column_};
      std::string key;
      if (!string(&key)) return false;
      const std::string child = path.empty() ? key : path + "." + key;
      found_.try_emplace(child, place);
      blanks();
      if (at_end() || peek() != ':') return false;
      step();
      if (!value(child)) return false;
      blanks();
      if (!at_end() && peek() == ',') step();
    }
    return close();
  }

  bool array(const std::string& path) {
    step();
    std::size_t index = 0;
    for (blanks(); !at_end() && peek() != ']'; blanks()) {
      const std::string child = path + "." + std::to_string(index++);
      found_.try_emplace(child, Position{line_, column_});
      if (!value(child)) return false;
      blanks();
      if (!at_end() && peek() == ',') step();
    }
    return close();
  }

  /// Escapes are kept as written: a key with escapes is a key nobody knows anyway.
  bool string(std::string* out) {
    if (at_end() || peek() != '"') return false;
    step();
    while (!at_end() && peek() != '"') {
      if (peek() == '\\') {
        if (out != nullptr) *out += peek();
        step();
        if (at_end()) return false;
      }
      if (out != nullptr) *out += peek();
      step();
    }
    return close();
  }

  bool close() {
    if (at_end()) return false;
    step();
    return true;
  }
  void blanks() {
    while (!at_end() && std::isspace(static_cast<unsigned char>(peek())) != 0) step();
  }
  void step() {
    if (text_[at_++] == '\n') {
      ++line_;
      column_ = 1;
    } else {
      ++column_;
    }
  }
  [[nodiscard]] bool at_end() const { return at_ >= text_.size(); }
  [[nodiscard]] char peek() const { return text_[at_]; }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1, column_ = 1;
  std::map<std::string, Position> found_;
};

}  // namespace

std::map<std::string, Position> key_positions(std::string_view text) { return PositionScan(text).run(); }

}  // namespace rtrain::proto
