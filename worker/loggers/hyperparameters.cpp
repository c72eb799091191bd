#include "worker/loggers/hyperparameters.h"

#include "worker/runtime/json.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <regex>
#include <stdexcept>

namespace rtrain::loggers {
namespace {

void flatten_into(std::vector<std::pair<std::string, nlohmann::json>>& out, const std::string& prefix,
                  const nlohmann::json& value) {
  for (const auto& item : value.items()) {
    const auto name = prefix.empty() ? item.key() : prefix + "/" + item.key();
    if (item.value().is_object() && !item.value().empty())
      flatten_into(out, name, item.value());
    else
      out.emplace_back(name, item.value());
  }
}

/// Without quotes only what no reader of YAML takes for something else; JSON's quotes are YAML's.
std::string scalar(const std::string& text) {
  static const std::regex plain("[A-Za-z_][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*");
  static constexpr std::array kWords{"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool word = std::find(kWords.begin(), kWords.end(), lower) != kWords.end();
  return std::regex_match(text, plain) && !word ? text : runtime::dump_json(text);
}

std::string scalar(const nlohmann::json& value) {
  if (value.is_string()) return scalar(value.get<std::string>());
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    if (std::isnan(number)) return ".nan";
    if (std::isinf(number)) return number > 0 ? ".inf" : "-.inf";
  }
  return runtime::dump_json(value);  // empty lists and objects, too
}

void write(std::string& out, const nlohmann::json& value, std::size_t indent) {
  const std::string space(indent, ' ');
  if (value.is_object()) {
    for (const auto& item : value.items()) {
      out += space + scalar(item.key()) + ":";
      const auto& inner = item.value();
      if (inner.is_structured() && !inner.empty()) {
        out += "\n";
        write(out, inner, inner.is_array() ? indent : indent + 2);
      } else {
        out += " " + scalar(inner) + "\n";
      }
    }
    return;
  }
  for (const auto& inner : value) {
    // Within a list JSON's own form is YAML, too.
    out += space + "- " + (inner.is_structured() ? runtime::dump_json(inner) : scalar(inner)) + "\n";
  }
}

}  // namespace

std::vector<std::pair<std::string, nlohmann::json>> flatten(const nlohmann::json& hyperparameters) {
  std::vector<std::pair<std::string, nlohmann::json>> out;
  flatten_into(out, "", hyperparameters);
  return out;
}

std::string text_of(const nlohmann::json& leaf) {
  return leaf.is_string() ? leaf.get<std::string>() : runtime::dump_json(leaf);
}

std::string to_yaml(const nlohmann::json& hyperparameters) {
  if (hyperparameters.empty()) return "{}\n";
  std::string out;
  write(out, hyperparameters, 0);
  return out;
}

void write_hparams(const std::string& who, const std::filesystem::path& folder,
                   const nlohmann::json& hyperparameters) {
  const auto path = folder / "hparams.yaml";
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << to_yaml(hyperparameters);
  out.close();
  if (!out) throw std::runtime_error(who + ": " + path.string() + ": " + std::strerror(errno));
}

}  // namespace rtrain::loggers
