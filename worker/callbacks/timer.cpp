#include <rtrain/callbacks/timer.h>

#include <rtrain/trainer.h>

#include <iostream>

namespace rtrain {

void Timer::Watch::start() {
  if (!since) since = std::chrono::steady_clock::now();
}
void Timer::Watch::stop() {
  before_s = seconds();
  since.reset();
}
double Timer::Watch::seconds() const {
  if (!since) return before_s;
  return before_s + std::chrono::duration<double>(std::chrono::steady_clock::now() - *since).count();
}

Timer::Timer(Duration duration, TimerOptions options) : duration_s_(duration.seconds()), options_(options) {}

double Timer::time_elapsed(Stage stage) const {
  switch (stage) {
    case Stage::kTrain: return train_.seconds();
    case Stage::kValidate: return validate_.seconds();
    case Stage::kTest: return test_.seconds();
    default: return 0;
  }
}

std::optional<double> Timer::time_remaining() const {
  if (!duration_s_) return std::nullopt;
  return *duration_s_ - train_.seconds();
}

/// Every rank asks at the same places; rank 0 answers.
void Timer::end_when_over(Trainer& trainer) {
  if (!duration_s_) return;
  const bool over = train_.seconds() >= *duration_s_;
  auto& strategy = trainer.strategy();
  const bool agreed = strategy.is_distributed() ? strategy.broadcast(over ? "1" : "0") == "1" : over;
  if (!agreed || trainer.should_stop()) return;
  trainer.stop_for_time();
  if (options_.verbose && trainer.is_global_zero())
    std::cerr << "Timer: training took " << static_cast<std::int64_t>(train_.seconds()) << " s of "
              << Duration(std::chrono::duration<double>(*duration_s_)).text() << ": the fit ends"
              << std::endl;
}

void Timer::on_fit_start(Trainer& trainer, LightningModule&) { end_when_over(trainer); }
void Timer::on_train_start(Trainer&, LightningModule&) { train_.start(); }
void Timer::on_train_batch_end(Trainer& trainer, LightningModule&, const StepOutput&, const Batch&,
                               std::int64_t) {
  if (options_.interval == Interval::kStep) end_when_over(trainer);
}
void Timer::on_train_epoch_end(Trainer& trainer, LightningModule&) {
  if (options_.interval == Interval::kEpoch) end_when_over(trainer);
}
void Timer::on_train_end(Trainer&, LightningModule&) { train_.stop(); }
void Timer::on_validation_start(Trainer&, LightningModule&) { validate_.start(); }
void Timer::on_validation_end(Trainer&, LightningModule&) { validate_.stop(); }
void Timer::on_test_start(Trainer&, LightningModule&) { test_.start(); }
void Timer::on_test_end(Trainer&, LightningModule&) { test_.stop(); }

void Timer::teardown(Trainer&, LightningModule&, Stage) {
  train_.stop();
  validate_.stop();
  test_.stop();
}

nlohmann::json Timer::state_dict() const {
  return {{"time_elapsed",
           {{"train", train_.seconds()}, {"validate", validate_.seconds()}, {"test", test_.seconds()}}}};
}

void Timer::load_state_dict(const nlohmann::json& state) {
  const auto& elapsed = state.at("time_elapsed");
  train_ = {elapsed.at("train").get<double>(), {}};
  validate_ = {elapsed.at("validate").get<double>(), {}};
  test_ = {elapsed.at("test").get<double>(), {}};
}

}  // namespace rtrain
