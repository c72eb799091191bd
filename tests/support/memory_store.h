// A key-value store of one process.
#pragma once

#include "worker/runtime/key_value_store.h"

#include <map>
#include <optional>
#include <string>

namespace rtrain::test {

struct MemoryStore : runtime::KeyValueStore {
  std::map<std::string, std::string> values;
  void set(const std::string& key, const std::string& value) override { values[key] = value; }
  std::optional<std::string> get(const std::string& key) override {
    const auto found = values.find(key);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  }
  void remove(const std::string& key) override { values.erase(key); }
};

}  // namespace rtrain::test
