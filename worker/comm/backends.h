// Factories for the c10d backends, so that only one file each includes their headers.
#pragma once

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <string>

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace rtrain::comm {

struct BackendOptions {
  int rank = 0, world_size = 1;
  std::string address;  ///< the local address that Gloo binds to
  std::chrono::milliseconds timeout{}, init_timeout{};
};

/// Connects to all other ranks before it returns.
[[nodiscard]] c10::intrusive_ptr<c10d::Backend> make_gloo_backend(
    const c10::intrusive_ptr<c10d::Store>& store, const BackendOptions& options);
/// What Gloo itself gives up after: a little later than a host that waits no longer than `limit`.
void limit_gloo(c10d::Backend& gloo, std::chrono::milliseconds limit);
/// Connects in eagerConnectSingleDevice() or in the first collective. @throws std::runtime_error if this
/// LibTorch has no NCCL.
[[nodiscard]] c10::intrusive_ptr<c10d::Backend> make_nccl_backend(
    const c10::intrusive_ptr<c10d::Store>& store, const BackendOptions& options);

}  // namespace rtrain::comm
