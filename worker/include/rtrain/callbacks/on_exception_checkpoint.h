// Saves what a fit had when it failed: Lightning's OnExceptionCheckpoint.
#pragma once

#include <rtrain/callback.h>

#include <filesystem>
#include <string>

namespace rtrain {

/// Saves dirpath/filename.ckpt when a step or a hook of a fit throws, and removes it at the end of a fit that
/// did not. fit() resumes from it without being told to when it is there. The checkpoint is of the moment of
/// the failure: the batch that failed is repeated; if it failed behind its backward, within an accumulation,
/// the gradients hold it already.
/// With several ranks it does nothing, which a warning says: one that fails cannot save with the others. Job
/// retries resume from the last report(). An exception of a CUDA device saves nothing either.
class RTRAIN_API OnExceptionCheckpoint : public Callback {
 public:
  /// @throws std::invalid_argument an empty folder or name.
  explicit OnExceptionCheckpoint(std::filesystem::path dirpath, std::string filename = "on_exception");
  [[nodiscard]] std::filesystem::path path() const { return dirpath_ / (filename_ + ".ckpt"); }

  void setup(Trainer& trainer, LightningModule& module, Stage stage) override;
  void on_exception(Trainer& trainer, LightningModule& module, const std::exception& error) override;
  void teardown(Trainer& trainer, LightningModule& module, Stage stage) override;
  [[nodiscard]] CallbackOrder order() const override { return CallbackOrder::kCheckpoint; }
  [[nodiscard]] CallbackRole role() const override { return CallbackRole::kCheckpoint; }
  [[nodiscard]] std::optional<std::vector<std::filesystem::path>> saved(SavedCheckpoint name) const override;

 private:
  std::filesystem::path dirpath_;
  std::string filename_;
};

}  // namespace rtrain
