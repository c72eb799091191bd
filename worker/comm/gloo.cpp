// The only file that sees Gloo's headers. LibTorch carries Gloo's code; none of it may be defined here (a
// test looks).
#include "worker/comm/backends.h"

#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

namespace rtrain::comm {
namespace {

/// The host's wait ends first: its error names the ranks that did not come, Gloo's a socket.
constexpr std::chrono::milliseconds kAfterTheHost{1000};

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_gloo_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    const BackendOptions& options) {
  auto gloo = c10d::ProcessGroupGloo::Options::create(options.init_timeout);
  gloo->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(options.address));
  auto backend = c10::make_intrusive<c10d::ProcessGroupGloo>(store, options.rank, options.world_size, gloo);
  limit_gloo(*backend, options.timeout);
  return backend;
}

void limit_gloo(c10d::Backend& gloo, std::chrono::milliseconds limit) {
  // The virtual one: it takes no Gloo code of ours to set the timeout of the contexts.
  gloo.setTimeout(limit + kAfterTheHost);
}

}  // namespace rtrain::comm
