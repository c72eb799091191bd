// Golden texts of sections: "== title", then lines of two spaces, a key, and what it holds.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace rtrain::test {

/// What the scripts' det() makes: element i is ((i + salt) * 7919 mod 1000) / 1000 - 0.5, in float64.
inline torch::Tensor det(const std::vector<std::int64_t>& shape, std::int64_t salt) {
  auto values = torch::zeros(shape, torch::kDouble);
  auto* data = values.data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i)
    data[i] = static_cast<double>((i + salt) * 7919 % 1000) / 1000 - 0.5;
  return values;
}

struct GoldenSection {
  std::string title;
  std::vector<std::string> lines;  ///< without the two spaces

  /// What follows `key` in the first line that begins with it; "": there is none.
  [[nodiscard]] std::string after(const std::string& key) const {
    for (const auto& line : lines)
      if (line.starts_with(key)) return line.substr(key.size());
    return "";
  }
};

/// @param path from tests/golden/.
inline std::vector<GoldenSection> golden_sections(const std::string& path) {
  std::ifstream in(std::string(RTRAIN_SOURCE_DIR "/tests/golden/") + path);
  if (!in) throw std::runtime_error("there is no tests/golden/" + path);
  std::vector<GoldenSection> sections;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("== "))
      sections.push_back({line.substr(3), {}});
    else if (line.starts_with("  ") && !sections.empty())
      sections.back().lines.push_back(line.substr(2));
  }
  return sections;
}

/// The lines of a file; those behind the one that begins with `after`, if that is not "".
inline std::vector<std::string> golden_lines(const std::string& path, const std::string& after = "") {
  std::ifstream in(std::string(RTRAIN_SOURCE_DIR "/tests/golden/") + path);
  if (!in) throw std::runtime_error("there is no tests/golden/" + path);
  std::vector<std::string> lines;
  bool within = after.empty();
  for (std::string line; std::getline(in, line);) {
    if (within) lines.push_back(line);
    within = within || line.starts_with(after);
  }
  return lines;
}

/// The numbers between blanks, commas and brackets.
inline std::vector<double> golden_numbers(std::string text) {
  for (auto& letter : text)
    if (letter == '[' || letter == ']' || letter == ',') letter = ' ';
  std::istringstream in(text);
  std::vector<double> numbers;
  for (std::string word; in >> word;) numbers.push_back(std::stod(word));
  return numbers;
}

}  // namespace rtrain::test
