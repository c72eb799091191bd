#include <rtrain/names.h>

#include "proto/jobspec/jobspec.h"

#include <c10/util/Type.h>

#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace rtrain::detail {
namespace {

struct Table {
  std::mutex mutex;
  std::map<std::string, std::map<std::string, AnyFactory>> by_kind;
};

/// Registrations run while libraries are loaded, in any order.
Table& table() {
  static auto* const the_table = new Table;
  return *the_table;
}

/// Null if there is none of that name.
AnyFactory find(const char* kind, const std::string& name) {
  const std::lock_guard lock(table().mutex);
  const auto& named = table().by_kind[kind];
  const auto found = named.find(name);
  return found == named.end() ? nullptr : found->second;
}

/// "Logger" of the mangled name of rtrain::Logger.
std::string word_of(const char* kind) {
  const auto text = c10::demangle(kind);
  const auto colon = text.rfind(':');
  return colon == std::string::npos ? text : text.substr(colon + 1);
}

struct Described {
  std::string name;
  nlohmann::json options = nlohmann::json::object();
};

std::string text_at(const std::string& word, const nlohmann::json& object, const char* key) {
  const auto& value = object.at(key);
  if (!value.is_string())
    throw std::invalid_argument(word + ": " + key + ": expected a string, found " + value.type_name());
  return value.get<std::string>();
}

Described read(const std::string& word, const nlohmann::json& described) {
  if (described.is_string()) return {described.get<std::string>()};
  if (!described.is_object())
    throw std::invalid_argument(word + ": expected a name or an object such as {\"name\": \"...\"}, found " +
                                described.type_name());
  if (described.contains("class_path")) {
    for (const auto& item : described.items())
      if (item.key() != "class_path" && item.key() != "init_args")
        throw std::invalid_argument(word + ": " + item.key() +
                                    ": beside class_path there is only init_args, which holds the options");
    const auto path = text_at(word, described, "class_path");
    const auto dot = path.rfind('.');
    return {dot == std::string::npos ? path : path.substr(dot + 1),
            described.value("init_args", nlohmann::json::object())};
  }
  if (!described.contains("name"))
    throw std::invalid_argument(word + ": the object has no key \"name\" that says which one it is");
  Described result{text_at(word, described, "name"), described};
  result.options.erase("name");
  return result;
}

[[noreturn]] void fail_unknown(const char* kind, const std::string& word, const std::string& name) {
  const auto names = names_of_kind(kind);
  const auto near = proto::nearest(name, names);
  std::string all;
  for (const auto& known : names) all += (all.empty() ? "\"" : ", \"") + known + "\"";
  throw std::invalid_argument(word + ": there is no \"" + name + "\"" +
                              (near.empty() ? "" : "; the nearest is \"" + near + "\"") +
                              (all.empty() ? "; none is registered" : "; there are " + all));
}

}  // namespace

void name_factory(const char* kind, std::string name, AnyFactory make) {
  const std::lock_guard lock(table().mutex);
  table().by_kind[kind][std::move(name)] = std::move(make);
}

std::shared_ptr<void> make_by_name(const char* kind, const std::string& name) {
  const auto make = find(kind, name);
  if (!make) return nullptr;
  OptionReader none(name, nullptr);
  return make(none);
}

std::shared_ptr<void> make_described(const char* kind, const nlohmann::json& described) {
  const auto word = word_of(kind);
  auto [name, options] = read(word, described);
  const auto make = find(kind, name);
  if (!make) fail_unknown(kind, word, name);
  OptionReader reader(name, std::move(options));
  auto made = make(reader);
  reader.finish();  // for a factory that did not
  return made;
}

std::vector<std::shared_ptr<void>> make_all_described(const char* kind, const nlohmann::json& list) {
  const auto word = word_of(kind);
  if (list.is_null()) return {};
  if (!list.is_array()) throw std::invalid_argument(word + ": expected a list, found " + list.type_name());
  std::vector<std::shared_ptr<void>> made;
  std::string problems;
  for (std::size_t i = 0; i < list.size(); ++i) {
    try {
      made.push_back(make_described(kind, list[i]));
    } catch (const std::invalid_argument& error) {
      problems += "\n[" + std::to_string(i) + "] " + error.what();
    }
  }
  if (!problems.empty()) throw std::invalid_argument(word + " list:" + problems);
  return made;
}

std::vector<std::string> names_of_kind(const char* kind) {
  const std::lock_guard lock(table().mutex);
  std::vector<std::string> names;
  for (const auto& [name, make] : table().by_kind[kind]) names.push_back(name);
  return names;
}

}  // namespace rtrain::detail
