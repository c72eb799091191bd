// Sees the operators that read a sharded parameter. The only part that names LibTorch's dispatcher.
#pragma once

#include <c10/core/Storage.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/types.h>

#include <span>
#include <string>
#include <string_view>

namespace rtrain::sharding {

/// A sharded parameter carries a dispatch key of its own (and so do its views and what autograd saves of it);
/// a fallback on that key sees each operator before its kernel runs. What has no such parameter costs
/// nothing.
inline constexpr auto kKey = c10::DispatchKey::Fake;

/// One storage that an operator uses.
struct Use {
  int group = 0;
  bool writes = false;  ///< in place: its content will differ
};

/// Whose storages they are. @thread the one that runs the operator: the training thread, or the device's
/// thread of autograd, which the training thread waits for.
class Watcher {
 public:
  virtual ~Watcher() = default;
  /// An operator is about to use the content of these storages; they must have memory when this returns.
  /// @param op "aten::mm".
  virtual void before_use(std::span<const Use> uses, std::string_view op) = 0;
};

/// Registers the fallback, once per process, and shows by a small sharded tensor that it is called.
/// @throws std::runtime_error this LibTorch does not call it: names its version.
void require_interception();

/// @param storage of the group's parameters. @lifetime until unwatch().
void watch(const c10::Storage& storage, Watcher& watcher, int group);
void unwatch(const c10::Storage& storage);

/// Puts the key on a tensor whose storage is watched.
void mark(const torch::Tensor& tensor);
[[nodiscard]] bool is_marked(const torch::Tensor& tensor);
/// Takes it off, for a tensor that has memory of its own again.
void unmark(const torch::Tensor& tensor);

/// As long as it lives, this thread's operators are not seen.
using Unseen = c10::impl::ExcludeDispatchKeyGuard;
[[nodiscard]] inline Unseen unseen() { return Unseen(kKey); }

}  // namespace rtrain::sharding
