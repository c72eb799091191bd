#include <rtrain/callbacks/gradient_accumulation_scheduler.h>
#include <rtrain/trainer.h>

#include <charconv>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

namespace rtrain {
namespace {

/// {"scheduling": {"0": 8, "4": 4}}: JSON has no other keys than strings.
std::shared_ptr<Callback> from_options(OptionReader& reader) {
  std::map<std::string, std::int64_t> by_text;
  reader.read("scheduling", by_text);
  reader.finish();
  std::map<std::int64_t, std::int64_t> scheduling;
  for (const auto& [text, batches] : by_text) {
    std::int64_t epoch = 0;
    const char* end = text.data() + text.size();
    if (std::from_chars(text.data(), end, epoch).ptr != end || text.empty())
      throw std::invalid_argument("GradientAccumulationScheduler: scheduling: the key \"" + text +
                                  "\" is not the number of an epoch");
    scheduling.emplace(epoch, batches);
  }
  return std::make_shared<GradientAccumulationScheduler>(std::move(scheduling));
}

[[maybe_unused]] const bool named =
    (Names<Callback>::add("GradientAccumulationScheduler", from_options), true);

}  // namespace

GradientAccumulationScheduler::GradientAccumulationScheduler(
    std::initializer_list<std::pair<const std::int64_t, std::int64_t>> scheduling)
    : GradientAccumulationScheduler(std::map(scheduling)) {}

GradientAccumulationScheduler::GradientAccumulationScheduler(std::map<std::int64_t, std::int64_t> scheduling)
    : scheduling_(std::move(scheduling)) {
  std::string problems;
  if (scheduling_.empty()) problems += "\n  it has no entry, expected {epoch, batches a step}";
  for (const auto& [epoch, batches] : scheduling_) {
    if (epoch < 0) problems += "\n  epoch " + std::to_string(epoch) + ", expected 0 or more";
    if (batches < 1)
      problems += "\n  " + std::to_string(batches) + " batches a step from epoch " + std::to_string(epoch) +
                  " on, expected 1 or more";
  }
  if (!problems.empty())
    throw std::invalid_argument("GradientAccumulationScheduler: this schedule cannot be used:" + problems);
  scheduling_.emplace(0, 1);
}

std::int64_t GradientAccumulationScheduler::factor(std::int64_t epoch) const {
  return std::prev(scheduling_.upper_bound(epoch))->second;
}

void GradientAccumulationScheduler::setup(Trainer& trainer, LightningModule&, Stage) {
  const auto own = trainer.options().accumulate_grad_batches;
  if (own != 1)
    throw std::invalid_argument("GradientAccumulationScheduler: the Trainer's accumulate_grad_batches is " +
                                std::to_string(own) +
                                ", and the two would contradict each other: leave it at 1");
}

void GradientAccumulationScheduler::on_train_start(Trainer& trainer, LightningModule&) {
  trainer.set_accumulate_grad_batches(factor(trainer.current_epoch()));
}

void GradientAccumulationScheduler::on_train_epoch_start(Trainer& trainer, LightningModule&) {
  trainer.set_accumulate_grad_batches(factor(trainer.current_epoch()));
}

}  // namespace rtrain
