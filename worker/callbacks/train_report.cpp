#include <rtrain/callbacks/train_report.h>

#include <rtrain/context.h>
#include <rtrain/trainer.h>

#include "worker/sdk/job.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>

namespace rtrain {
namespace {

/// A fresh folder, gone with this object: below the run's in a job, so that a rank that is killed leaves
/// nothing where nobody looks.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    if (const auto scratch = sdk::Job::current().make_scratch()) {
      path_ = *scratch;
      return;
    }
    const char* given = std::getenv("TMPDIR");
    const std::filesystem::path base = given != nullptr && *given != '\0' ? given : "/tmp";
    auto name = (base / "rtrain-checkpoint-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      const std::string cause = std::strerror(errno);
      throw std::runtime_error("TrainReportCallback: checkpoints are made in " + base.string() +
                               (given != nullptr ? " (TMPDIR)" : "") + ", where no folder can be made: " +
                               cause + "; set TMPDIR to a folder that can be written");
    }
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void report_checkpoint(Trainer& trainer, nlohmann::json metrics) {
  metrics["epoch"] = trainer.current_epoch();
  metrics["step"] = trainer.global_step();
  if (trainer.options().fast_dev_run > 0) return report(metrics);  // a trial leaves no checkpoint
  const TemporaryFolder folder;
  trainer.save_checkpoint(folder.path() / TrainReportCallback::kCheckpointName);
  if (auto* async = dynamic_cast<AsyncCheckpointIO*>(&trainer.checkpoint_io())) async->wait();
  report(metrics, Checkpoint::from_directory(folder.path()));
  trainer.strategy().barrier();  // every rank's files are stored before a local copy goes away
}

}  // namespace

/// Found before the first epoch, not after it.
void TrainReportCallback::setup(Trainer&, LightningModule&, Stage stage) {
  if (stage == Stage::kFit) const TemporaryFolder usable;
}

void TrainReportCallback::on_train_epoch_end(Trainer& trainer, LightningModule&) {
  report_checkpoint(trainer, trainer.callback_metrics());
}

void TrainReportCallback::on_yield(Trainer& trainer, LightningModule&) {
  report_checkpoint(trainer, nlohmann::json::object());
}

RTRAIN_REGISTER(Callback, "TrainReportCallback", TrainReportCallback);

}  // namespace rtrain
