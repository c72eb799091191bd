#include <rtrain/callbacks/on_exception_checkpoint.h>

#include "worker/run/warn.h"

#include <rtrain/trainer.h>

#include <c10/util/Exception.h>

#include <stdexcept>

namespace rtrain {

OnExceptionCheckpoint::OnExceptionCheckpoint(std::filesystem::path dirpath, std::string filename)
    : dirpath_(std::move(dirpath)), filename_(std::move(filename)) {
  if (dirpath_.empty()) throw std::invalid_argument("OnExceptionCheckpoint: dirpath is empty");
  if (filename_.empty()) throw std::invalid_argument("OnExceptionCheckpoint: filename is empty");
}

void OnExceptionCheckpoint::setup(Trainer& trainer, LightningModule&, Stage stage) {
  if (stage == Stage::kFit && trainer.world_size() > 1)
    warn(
        "OnExceptionCheckpoint: it has no effect with several ranks: one that fails cannot save with the "
        "others; a job resumes from its last report()");
}

void OnExceptionCheckpoint::on_exception(Trainer& trainer, LightningModule&, const std::exception& error) {
  if (!trainer.fitting() || trainer.sanity_checking() || trainer.world_size() > 1) return;
  if (dynamic_cast<const c10::AcceleratorError*>(&error) != nullptr)
    return warn("OnExceptionCheckpoint: the device failed, so nothing is saved");
  trainer.save_checkpoint(path());
  warn("OnExceptionCheckpoint: an exception ends the fit; " + path().string() + " is saved");
}

void OnExceptionCheckpoint::teardown(Trainer& trainer, LightningModule&, Stage stage) {
  if (stage != Stage::kFit || trainer.world_size() > 1) return;
  try {
    trainer.checkpoint_io().remove(path());
  } catch (const std::exception& failed) {
    warn(std::string("OnExceptionCheckpoint: ") + failed.what());
  }
}

std::optional<std::vector<std::filesystem::path>> OnExceptionCheckpoint::saved(SavedCheckpoint name) const {
  if (name == SavedCheckpoint::kBest) return std::nullopt;
  return std::vector{std::filesystem::absolute(path())};
}

}  // namespace rtrain
