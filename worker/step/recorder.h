// What records the work of a device and repeats it.
#pragma once

#include <rtrain/export.h>

#include <torch/types.h>

#include <functional>
#include <memory>

namespace rtrain {

/// Records steps. Tensors that a recorded step makes stay where they are as long as somebody refers to them,
/// and each replay writes them anew.
/// @thread the training thread.
class RTRAIN_API Recorder {
 public:
  class RTRAIN_API Recording {
   public:
    virtual ~Recording() = default;
    /// Does the work again, on the tensors that it was recorded with.
    virtual void replay() = 0;
  };

  virtual ~Recorder() = default;
  /// The stream of the fit, as long as the result lives; what was queued before it comes first.
  [[nodiscard]] virtual std::shared_ptr<void> stream() { return nullptr; }
  /// Runs `body` once, on the host only: the work is done by replay().
  /// @throws what `body` throws; c10::Error for work that cannot be recorded.
  [[nodiscard]] virtual std::unique_ptr<Recording> record(const std::function<void()>& body) = 0;
};

/// Null: nothing can be recorded on this device, or with this LibTorch.
[[nodiscard]] RTRAIN_API std::shared_ptr<Recorder> make_recorder(torch::Device device);

using MakeRecorder = std::shared_ptr<Recorder> (*)(torch::Device);
/// Puts another function in the place of make_recorder(), for tests; null: its own. @return the one before.
RTRAIN_API MakeRecorder replace_make_recorder(MakeRecorder make);

}  // namespace rtrain
