#include <rtrain/config.h>

#include "proto/jobspec/jobspec.h"
#include "worker/runtime/json.h"

#include <cmath>
#include <mutex>
#include <set>
#include <string_view>

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

/// nlohmann says "[json.exception.type_error.302] type must be number, but is string": what it wants is in
/// there.
std::string wanted(const std::string& why) {
  static constexpr std::string_view kBegin = "type must be ", kEnd = ", but is";
  const auto begin = why.find(kBegin);
  const auto end = why.find(kEnd);
  if (begin == std::string::npos || end == std::string::npos) return "another type";
  const auto type = why.substr(begin + kBegin.size(), end - begin - kBegin.size());
  return (type == "array" ? "a list" : type == "object" ? "an object" : "a " + type);
}

[[noreturn]] void fail(const std::string& path, const std::string& expected, const std::string& found) {
  throw ConfigError(kRoot + path + ": expected " + expected + ", found " + found);
}

/// A number stands in the error itself: "found 1.7".
std::string words_of(const nlohmann::json& value) {
  return value.is_number() ? runtime::dump_json(value) : type_name(value);
}

/// A key may hold dots itself: the whole path first, then part by part.
const nlohmann::json* find(const nlohmann::json& root, const std::string& path) {
  const nlohmann::json* here = &root;
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

void add_paths(const nlohmann::json& object, const std::string& prefix, std::vector<std::string>& paths) {
  if (!object.is_object()) return;
  for (const auto& [key, value] : object.items()) {
    paths.push_back(prefix + key);
    add_paths(value, prefix + key + ".", paths);
  }
}

/// Of the paths beside `path` the one whose name is nearest; where nothing is beside it, the nearest path.
std::string nearest_path(const std::string& path, const std::vector<std::string>& candidates) {
  const auto parent = [](const std::string& p) { return p.substr(0, p.rfind('.') + 1); };
  const auto above = parent(path);
  std::vector<std::string> names;
  for (const auto& candidate : candidates)
    if (parent(candidate) == above) names.push_back(candidate.substr(above.size()));
  if (names.empty()) return proto::nearest(path, candidates);
  const auto name = proto::nearest(path.substr(above.size()), names);
  return name.empty() ? "" : above + name;
}

}  // namespace

namespace detail {

bool read_boolean(const std::string& path, const nlohmann::json& found) {
  if (!found.is_boolean()) fail(path, "a boolean", type_name(found));
  return found.get<bool>();
}

std::int64_t read_whole(const std::string& path, const nlohmann::json& found, std::int64_t lowest,
                        std::int64_t highest) {
  if (!found.is_number_integer()) fail(path, "a whole number", words_of(found));
  const bool above =
      found.is_number_unsigned() && found.get<std::uint64_t>() > static_cast<std::uint64_t>(highest);
  if (above || found.get<std::int64_t>() < lowest)
    fail(path, "a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest),
         words_of(found));
  return found.get<std::int64_t>();
}

std::uint64_t read_whole_unsigned(const std::string& path, const nlohmann::json& found,
                                  std::uint64_t highest) {
  if (!found.is_number_integer()) fail(path, "a whole number", words_of(found));
  if (!found.is_number_unsigned() && found.get<std::int64_t>() < 0)
    fail(path, "a whole number, 0 or more", words_of(found));
  if (found.get<std::uint64_t>() > highest)
    fail(path, "a whole number from 0 to " + std::to_string(highest), words_of(found));
  return found.get<std::uint64_t>();
}

double read_number(const std::string& path, const nlohmann::json& found, double highest) {
  if (!found.is_number()) fail(path, "a number", type_name(found));
  const auto number = found.get<double>();
  if (std::isfinite(number) && std::abs(number) > highest)
    fail(path, "a number from " + runtime::dump_json(-highest) + " to " + runtime::dump_json(highest),
         words_of(found));
  return number;
}

std::string read_string(const std::string& path, const nlohmann::json& found) {
  if (!found.is_string()) fail(path, "a string", type_name(found));
  return found.get<std::string>();
}

void require_list(const std::string& path, const nlohmann::json& found, std::optional<std::size_t> size) {
  if (!found.is_array()) fail(path, "a list", type_name(found));
  if (size && found.size() != *size)
    fail(path, "a list of " + std::to_string(*size), "one of " + std::to_string(found.size()));
}

void require_object(const std::string& path, const nlohmann::json& found) {
  if (!found.is_object()) fail(path, "an object", type_name(found));
}

void fail_type(const std::string& path, const nlohmann::json& found, const std::string& why) {
  fail(path, wanted(why), type_name(found));
}

}  // namespace detail

struct Config::Document {
  explicit Document(nlohmann::json given) : json(std::move(given)) {}

  const nlohmann::json json;
  std::mutex mutex;
  std::set<const nlohmann::json*> read;    ///< into `json`, each with all below it
  std::set<std::string> asked, not_there;  ///< paths; those that were asked for in vain

  /// @return true when something in or below `value` was read.
  bool add_unread(const nlohmann::json& value, const std::string& path, std::vector<Unread>& out) const {
    if (read.contains(&value)) return true;
    if (!value.is_object()) {
      out.push_back({path, ""});
      return false;
    }
    const auto before = out.size();
    bool any = false;
    for (const auto& [key, inner] : value.items())
      any = add_unread(inner, path.empty() ? key : path + "." + key, out) || any;
    if (!any && !path.empty()) {  // the object as a whole, not each of its values
      out.resize(before);
      out.push_back({path, ""});
    }
    return any;
  }
};

Config::Config() : Config(nlohmann::json::object()) {}
Config::Config(nlohmann::json json) : document_(std::make_shared<Document>(std::move(json))) {}

const nlohmann::json* Config::look_up(const std::string& path) const {
  const auto* found = find(document_->json, path);
  const std::lock_guard lock(document_->mutex);
  if (found != nullptr)
    document_->read.insert(found);
  else
    document_->not_there.insert(path);
  document_->asked.insert(path);
  return found;
}

const nlohmann::json& Config::json() const {
  const std::lock_guard lock(document_->mutex);
  document_->read.insert(&document_->json);
  return document_->json;
}

std::vector<Config::Unread> Config::unread() const {
  const std::lock_guard lock(document_->mutex);
  std::vector<Unread> out;
  (void)document_->add_unread(document_->json, "", out);
  // A misspelt key is most like one that was looked for and is not there.
  const std::vector<std::string> missed(document_->not_there.begin(), document_->not_there.end());
  const std::vector<std::string> asked(document_->asked.begin(), document_->asked.end());
  for (auto& unread : out) {
    unread.nearest = nearest_path(unread.path, missed);
    if (unread.nearest.empty()) unread.nearest = nearest_path(unread.path, asked);
  }
  return out;
}

void Config::fail_missing(const std::string& path) const {
  std::vector<std::string> there;
  add_paths(document_->json, "", there);
  const auto near = nearest_path(path, there);
  throw ConfigError(kRoot + path + ": is missing" + (near.empty() ? "" : "; did you mean " + near + "?"));
}

}  // namespace rtrain
