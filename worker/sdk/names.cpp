#include <rtrain/names.h>

#include <map>
#include <mutex>
#include <utility>

namespace rtrain::detail {
namespace {

using Factory = std::function<std::shared_ptr<void>()>;

struct Table {
  std::mutex mutex;
  std::map<std::string, std::map<std::string, Factory>> by_kind;
};

/// Registrations run while libraries are loaded, in any order.
Table& table() {
  static auto* const the_table = new Table;
  return *the_table;
}

}  // namespace

void name_factory(const char* kind, std::string name, Factory make) {
  const std::lock_guard lock(table().mutex);
  table().by_kind[kind][std::move(name)] = std::move(make);
}

std::shared_ptr<void> make_by_name(const char* kind, const std::string& name) {
  Factory make;
  {
    const std::lock_guard lock(table().mutex);
    const auto& named = table().by_kind[kind];
    const auto found = named.find(name);
    if (found == named.end()) return nullptr;
    make = found->second;
  }
  return make();
}

std::vector<std::string> names_of_kind(const char* kind) {
  const std::lock_guard lock(table().mutex);
  std::vector<std::string> names;
  for (const auto& [name, make] : table().by_kind[kind]) names.push_back(name);
  return names;
}

}  // namespace rtrain::detail
