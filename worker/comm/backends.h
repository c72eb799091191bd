// The c10d backends behind factories: the headers of each are seen by one file only.
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
  std::string address;  ///< Gloo: the local address to bind to
  std::chrono::milliseconds timeout{}, init_timeout{};
};

/// Connects to every other rank before it returns.
[[nodiscard]] c10::intrusive_ptr<c10d::Backend> make_gloo_backend(
    const c10::intrusive_ptr<c10d::Store>& store, const BackendOptions& options);
/// Connects with eagerConnectSingleDevice(), or the first collective. @throws std::runtime_error this
/// LibTorch has no NCCL.
[[nodiscard]] c10::intrusive_ptr<c10d::Backend> make_nccl_backend(
    const c10::intrusive_ptr<c10d::Store>& store, const BackendOptions& options);

}  // namespace rtrain::comm
