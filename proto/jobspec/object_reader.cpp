#include "proto/jobspec/object_reader.h"

#include "common/base/clip.h"

#include <algorithm>
#include <cmath>

namespace rtrain::proto {
namespace {

std::string range_words(double min, double max, bool min_excluded) {
  if (max == std::numeric_limits<double>::max())
    return (min_excluded ? "above " : "at least ") + number_text(min);
  return "from " + number_text(min) + " to " + number_text(max);
}

/// "run_config", "train_func or at the top level": where else a job file has this key; "" nowhere.
std::string home_of(const std::string& key) {
  static const auto kKeys = job_spec_keys();
  std::string homes;
  bool top = false;
  for (const auto& [path, keys] : kKeys) {
    if (std::ranges::find(keys, key) == keys.end()) continue;
    if (path.empty())
      top = true;
    else
      homes += (homes.empty() ? "" : " or ") + path;
  }
  if (!top) return homes.empty() ? "" : "in " + homes;
  return homes.empty() ? "at the top level" : "in " + homes + " or at the top level";
}

std::string unknown_key(const std::string& key, const std::string& path,
                        const std::vector<std::string>& known, bool of_job) {
  if (const auto home = of_job ? home_of(key) : ""; !home.empty()) return "unknown key; it belongs " + home;
  if (const auto near = nearest(key, known); !near.empty()) return "unknown key; did you mean " + near + "?";
  return path.empty() && of_job ? "unknown key; settings of your own belong in train_loop_config"
                                : "unknown key";
}

/// Beyond what 64 bits hold a whole number is read as one with a fraction.
bool is_whole(const Json& value) {
  constexpr double kBeyond = 9223372036854775808.0;  // 2^63
  return value.is_number_integer() || (value.is_number_float() && std::abs(value.get<double>()) >= kBeyond);
}

}  // namespace

std::string type_words(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null: return "null";
    case Json::value_t::boolean: return "a boolean";
    case Json::value_t::string: return "a string";
    case Json::value_t::array: return "a list";
    case Json::value_t::object: return "an object";
    case Json::value_t::number_float: return "a number with a fraction";
    default: return "a number";
  }
}

void SpecErrors::add(std::string_view path, std::string_view message) {
  if (full())
    ++more_;
  else
    errors_.push_back({clipped(path, kPathBytesMax), clipped(message, kMessageBytesMax), 0, 0});
}

void SpecErrors::add(TextProblem problem) {
  if (full())
    ++more_;
  else
    errors_.push_back(
        {std::move(problem.path), std::move(problem.message), problem.at.line, problem.at.column});
}

void SpecErrors::take(SpecReading& into, std::string_view text, JsonLimits limits) {
  std::vector<std::string> lost;
  for (const auto& error : errors_)
    if (error.line == 0) lost.push_back(error.path);
  const auto places =
      lost.empty() || text.empty() ? std::vector<TextPosition>(lost.size()) : places_in(text, limits, lost);
  auto place = places.begin();
  for (auto& error : errors_)
    if (error.line == 0) error.line = place->line, error.column = place->column, ++place;
  std::ranges::stable_sort(errors_, {},
                           [](const SpecError& error) { return std::pair(error.line, error.column); });
  into.errors = std::move(errors_);
  into.count = into.errors.size() + more_;
  if (more_ > 0) into.errors.push_back({"", "... and " + std::to_string(more_) + " more", 0, 0});
}

std::string ObjectReader::path_of(std::string_view key) const {
  if (path_.empty()) return std::string(key);
  if (key.empty()) return path_;
  return path_ + "." + std::string(key);
}

const Json* ObjectReader::raw(const char* key) {
  known_.emplace_back(key);
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void ObjectReader::wrong_type(const char* key, const char* expected, const Json& found) {
  error(key, std::string("expected ") + expected + ", found " + type_words(found));
}

void ObjectReader::read(const char* key, std::string& out) {
  const Json* value = raw(key);
  if (value == nullptr) return;
  if (!value->is_string()) return wrong_type(key, "a string", *value);
  out = value->get<std::string>();
  if (out.find('\0') != std::string::npos) error(key, "contains a NUL character");
}

void ObjectReader::read(const char* key, bool& out) {
  const Json* value = raw(key);
  if (value == nullptr) return;
  if (!value->is_boolean()) return wrong_type(key, "true or false", *value);
  out = value->get<bool>();
}

void ObjectReader::read(const char* key, int& out, int min, int max) {
  const Json* value = raw(key);
  if (value == nullptr) return;
  if (!is_whole(*value)) return wrong_type(key, "a whole number", *value);
  // A value above the range of int64 arrives as unsigned: compare as double, which orders all of them.
  const double number = value->get<double>();
  if (number < min || number > max) {
    const bool open = max == std::numeric_limits<int>::max();
    return error(key, number_text(number) + " is out of range; it must be " +
                          (open ? "at least " + std::to_string(min) : range_words(min, max, false)));
  }
  out = value->get<int>();
}

void ObjectReader::read(const char* key, double& out, double min, double max, bool min_excluded) {
  const Json* value = raw(key);
  if (value == nullptr) return;
  if (!value->is_number()) return wrong_type(key, "a number", *value);
  const double number = value->get<double>();
  if (!std::isfinite(number) || number < min || number > max || (min_excluded && number == min))
    return error(key,
                 number_text(number) + " is out of range; it must be " + range_words(min, max, min_excluded));
  out = number;
}

void ObjectReader::read(const char* key, std::vector<std::string>& out) {
  const Json* value = raw(key);
  if (value == nullptr) return;
  if (!value->is_array()) return wrong_type(key, "a list of strings", *value);
  for (std::size_t i = 0; i < value->size(); ++i) {
    const Json& item = (*value)[i];
    const std::string place = std::string(key) + "[" + std::to_string(i) + "]";
    if (!item.is_string()) {
      error(place, "expected a string, found " + type_words(item));
      continue;
    }
    out.push_back(item.get<std::string>());
    if (out.back().find('\0') != std::string::npos) error(place, "contains a NUL character");
  }
}

void ObjectReader::read(const char* key, std::map<std::string, std::string>& out) {
  const Json* value = raw(key);
  if (value == nullptr) return;
  if (!value->is_object()) return wrong_type(key, "an object of strings", *value);
  for (const auto& [name, item] : value->items()) {
    const std::string place = std::string(key) + "." + name;
    if (!item.is_string()) {
      error(place, "expected a string, found " + type_words(item));
      continue;
    }
    out[name] = item.get<std::string>();
    if (out[name].find('\0') != std::string::npos) error(place, "contains a NUL character");
  }
}

void ObjectReader::read_choice(const char* key, std::string& out, const std::vector<std::string>& choices) {
  const Json* value = raw(key);
  if (value == nullptr) return;
  if (!value->is_string()) return wrong_type(key, "a string", *value);
  const auto text = value->get<std::string>();
  if (std::find(choices.begin(), choices.end(), text) != choices.end()) {
    out = text;
    return;
  }
  std::string list;
  for (const auto& choice : choices) list += (list.empty() ? "" : ", ") + choice;
  const auto near = nearest(text, choices);
  error(key, "\"" + text + "\" is not one of " + list + (near.empty() ? "" : "; did you mean " + near + "?"));
}

std::optional<ObjectReader> ObjectReader::object(const char* key) {
  const Json* value = raw(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) {
    wrong_type(key, "an object", *value);
    return std::nullopt;
  }
  return ObjectReader(*value, path_of(key), errors_);
}

void ObjectReader::refuse(const char* key, const std::string& reason) {
  refused_.emplace_back(key);
  if (object_.contains(key)) error(key, reason);
}

void ObjectReader::finish() {
  errors_.known_keys[path_] = known_;
  for (const auto& [key, value] : object_.items()) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    if (std::find(refused_.begin(), refused_.end(), key) != refused_.end()) continue;
    error(key, errors_.full() ? "unknown key" : unknown_key(key, path_, known_, errors_.of_job));
  }
}

}  // namespace rtrain::proto
