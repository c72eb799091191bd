// What the ranks of a job need of a shared store: a c10d TCPStore in the worker, a map in tests.
#pragma once

#include <optional>
#include <string>

namespace rtrain::runtime {

class KeyValueStore {
 public:
  virtual ~KeyValueStore() = default;
  virtual void set(const std::string& key, const std::string& value) = 0;
  /// nullopt when there is none; never waits.
  virtual std::optional<std::string> get(const std::string& key) = 0;
  virtual void remove(const std::string& key) = 0;
};

}  // namespace rtrain::runtime
