#include <rtrain/config.h>

namespace rtrain {
namespace {

constexpr const char* kRoot = "train_loop_config.";

const char* type_name(const nlohmann::json& value) {
  if (value.is_number_integer()) return "an integer";
  if (value.is_number()) return "a number";
  if (value.is_string()) return "a string";
  if (value.is_boolean()) return "a boolean";
  if (value.is_array()) return "a list";
  if (value.is_object()) return "an object";
  return "null";
}

/// nlohmann says "[json.exception.type_error.302] type must be number, but is string": what it wants is in there.
std::string wanted(const std::string& why) {
  static constexpr std::string_view kBegin = "type must be ", kEnd = ", but is";
  const auto begin = why.find(kBegin);
  const auto end = why.find(kEnd);
  if (begin == std::string::npos || end == std::string::npos) return "another type";
  const auto type = why.substr(begin + kBegin.size(), end - begin - kBegin.size());
  return (type == "array" ? "a list" : type == "object" ? "an object" : "a " + type);
}

}  // namespace

const nlohmann::json* Config::find(const std::string& path) const {
  // A key may hold dots itself: the whole path first, then part by part.
  const nlohmann::json* here = &json_;
  std::size_t begin = 0;
  while (here->is_object()) {
    if (const auto whole = here->find(path.substr(begin)); whole != here->end()) return &*whole;
    const auto dot = path.find('.', begin);
    if (dot == std::string::npos) return nullptr;
    const auto next = here->find(path.substr(begin, dot - begin));
    if (next == here->end()) return nullptr;
    here = &*next;
    begin = dot + 1;
  }
  return nullptr;
}

void Config::fail_missing(const std::string& path) { throw ConfigError(kRoot + path + ": is missing"); }

void Config::fail_type(const std::string& path, const nlohmann::json& found, const std::string& why) {
  throw ConfigError(kRoot + path + ": expected " + wanted(why) + ", found " + type_name(found));
}

}  // namespace rtrain
