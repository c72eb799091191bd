#include <rtrain/callbacks/train_report.h>

#include <rtrain/context.h>
#include <rtrain/trainer.h>

#include "worker/sdk/job.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

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

nlohmann::json with_place(const Trainer& trainer, nlohmann::json metrics) {
  metrics["epoch"] = trainer.current_epoch();
  metrics["step"] = trainer.global_step();
  return metrics;
}

/// Null: the Trainer saves in the call. Shared: what waits to be stored may outlive the Trainer.
std::shared_ptr<CheckpointIO> later_saves_of(const Trainer& trainer) {
  for (const auto& plugin : trainer.options().plugins)
    if (auto io = std::dynamic_pointer_cast<CheckpointIO>(plugin.get()); io && io->writes_later()) return io;
  return nullptr;
}

/// All ranks save into one folder, and one of them makes and reports it: a strategy may have the ranks write
/// into the same files, which report() could not put together from a folder a rank. A rank that trains a
/// model of its own is the first of its kind.
bool is_first(Trainer& trainer) { return trainer.strategy().mesh().world().rank() == 0; }

/// @param folder on the first rank.
void save_together(Trainer& trainer, const std::filesystem::path& folder) {
  trainer.save_checkpoint(std::filesystem::path(trainer.strategy().broadcast(folder.string())) /
                          TrainReportCallback::kCheckpointName);
}

/// The checkpoint is stored once it is written, while the training goes on.
void report_later(Trainer& trainer, std::shared_ptr<CheckpointIO> saves, const nlohmann::json& metrics) {
  if (!is_first(trainer)) {
    save_together(trainer, {});
    return report(metrics);
  }
  const auto folder = Checkpoint::temporary();
  save_together(trainer, folder.path());
  sdk::Job::current().report(metrics, folder, {.checkpoint_upload_mode = CheckpointUploadMode::kAsync},
                             [saves = std::move(saves)] { saves->wait(); });
}

void report_now(Trainer& trainer, const nlohmann::json& metrics) {
  const auto folder = is_first(trainer) ? std::make_unique<TemporaryFolder>() : nullptr;
  save_together(trainer, folder ? folder->path() : std::filesystem::path());
  trainer.checkpoint_io().wait();
  if (folder)
    report(metrics, Checkpoint::from_directory(folder->path()));
  else
    report(metrics);
  trainer.strategy().barrier();  // the checkpoint is stored before a rank goes on, or yields
}

}  // namespace

/// Found before the first epoch, not after it.
void TrainReportCallback::setup(Trainer&, LightningModule&, Stage stage) {
  if (stage == Stage::kFit) const TemporaryFolder usable;
}

void TrainReportCallback::on_train_epoch_end(Trainer& trainer, LightningModule&) {
  const auto metrics = with_place(trainer, trainer.callback_metrics());
  auto saves = later_saves_of(trainer);
  if (trainer.options().fast_dev_run > 0) return report(metrics);  // a trial leaves no checkpoint
  if (saves && sdk::Job::current().active()) return report_later(trainer, std::move(saves), metrics);
  report_now(trainer, metrics);
}

void TrainReportCallback::on_yield(Trainer& trainer, LightningModule&) {
  const auto metrics = with_place(trainer, nlohmann::json::object());
  if (trainer.options().fast_dev_run > 0) return report(metrics);
  report_now(trainer, metrics);
}

RTRAIN_REGISTER(Callback, "TrainReportCallback", TrainReportCallback);

}  // namespace rtrain
