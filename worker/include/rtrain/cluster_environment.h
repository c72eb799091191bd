// Where the Trainer gets its ranks and world size from.
#pragma once

#include <rtrain/export.h>

#include <concepts>
#include <memory>
#include <string>

namespace rtrain {

/// An element of TrainerOptions::plugins.
class RTRAIN_API Plugin {
 public:
  virtual ~Plugin() = default;
  [[nodiscard]] virtual std::string name() const = 0;
};

/// Ray's RayLightningEnvironment: world size and ranks come from get_context(). The Trainer uses it by
/// default.
class RTRAIN_API ClusterEnvironment : public Plugin {
 public:
  [[nodiscard]] std::string name() const override { return "ClusterEnvironment"; }
  [[nodiscard]] virtual int world_size() const;
  [[nodiscard]] virtual int global_rank() const;
  [[nodiscard]] virtual int local_rank() const;
  [[nodiscard]] virtual int node_rank() const;
};

/// An element of TrainerOptions::plugins: a plugin by value, or a shared_ptr of one.
class RTRAIN_API AnyPlugin {
 public:
  template <std::derived_from<Plugin> P>
  AnyPlugin(P plugin) : plugin_(std::make_shared<P>(std::move(plugin))) {}  // NOLINT: implicit on purpose
  template <std::derived_from<Plugin> P>
  AnyPlugin(std::shared_ptr<P> plugin) : plugin_(std::move(plugin)) {}  // NOLINT: implicit on purpose
  [[nodiscard]] const std::shared_ptr<Plugin>& get() const { return plugin_; }

 private:
  std::shared_ptr<Plugin> plugin_;
};

}  // namespace rtrain
