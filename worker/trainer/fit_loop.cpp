#include "worker/trainer/fit_loop.h"

#include "worker/runtime/pulse.h"
#include "worker/runtime/yield_point.h"
#include "worker/trainer/trainer_impl.h"

#include <torch/torch.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace rtrain {

void FitLoop::set_data(DataLoader loader) {
  loader_ = std::move(loader);
  if (loader_.defined()) (void)loader_.sampler().start_after(0);  // a fit before may have left it elsewhere
  max_batches_ = loader_.defined() ? limited(run_.options.limit_train_batches, loader_.size(), "limit_train_batches") : 0;
  if (resumed_within_epoch_ && saved_world_size_ != run_.placement.world_size) share_rest_of_epoch();
  begin_epoch(part_);
}

/// Another number of ranks took the epoch's first samples: those of now share the rest. Accumulations that were not complete are begun
/// again, their gradients are gone.
void FitLoop::share_rest_of_epoch() {
  const auto world_size = run_.placement.world_size;
  const auto samples = saved_samples_ >= 0 ? saved_samples_ : batch_.current.processed * loader_.options().batch_size * saved_world_size_;
  const bool possible = loader_.defined() && loader_.sampler().start_after(samples);
  const auto batches = possible ? batch_.current.processed : batch_.current.processed * saved_world_size_ / world_size;
  for (auto* progress : {&batch_.total, &batch_.current}) {
    progress->processed += batches - batch_.current.processed;
    progress->ready = progress->started = progress->completed = progress->processed;
  }
  if (possible) part_ = {samples, batches};
  else warn("the training data comes from a sampler that cannot start in the middle of an epoch for another number of ranks: samples may be seen twice, or not at all");
}

void FitLoop::begin_epoch(Part part) {
  part_ = part;
  epoch_batches_ = max_batches_;
  if (loader_.defined() && loader_.sampler().start_after(part_.samples) && part_.samples > 0) {
    const auto at_once = loader_.options().batch_size * run_.placement.world_size;
    const auto allowed = std::max<std::int64_t>(0, max_batches_ * at_once - part_.samples);
    epoch_batches_ = part_.first_batch + std::min(loader_.size(), (allowed + at_once - 1) / at_once);
  }
  choose_validation_interval();
}

std::int64_t FitLoop::samples_seen() const {
  const auto done = batch_.current.processed - part_.first_batch;
  const auto learned = epoch_exhausted() ? done : done - done % run_.accumulate;
  return part_.samples + learned * loader_.options().batch_size * run_.placement.world_size;
}

void FitLoop::choose_validation_interval() {
  const auto& interval = run_.options.val_check_interval;
  if (interval.is_fraction()) {
    val_check_batch_ = std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(epoch_batches_) * interval.fraction()));
    return;
  }
  val_check_batch_ = interval.batches();
  if (max_batches_ > 0 && interval.batches() > max_batches_ && run_.options.check_val_every_n_epoch && run_.validation.max_batches() > 0) {
    throw std::invalid_argument("val_check_interval is " + std::to_string(interval.batches()) + ", but an epoch has " + std::to_string(max_batches_) +
                                " training batches: choose less, or set check_val_every_n_epoch = std::nullopt to count batches over all epochs, or "
                                "limit_val_batches = 0 for no validation");
  }
}

void FitLoop::start_over() {
  epoch_ = batch_ = {};
  part_ = {};
  steps_ = batches_that_stepped_ = 0;
  is_last_batch_ = has_gradients_ = validated_ = resumed_within_epoch_ = resumed_after_batch_ = false;
  results_.reset();
}

bool FitLoop::max_steps_reached() const { return run_.options.max_steps != -1 && steps_ >= run_.options.max_steps; }

bool FitLoop::can_stop_early() const { return epoch_.current.processed >= run_.min_epochs && steps_ >= run_.options.min_steps.value_or(0); }

bool FitLoop::done() const {
  if (max_batches_ == 0 || max_steps_reached()) return true;
  // `processed` is counted before on_train_epoch_end, where checkpoints are saved; `completed` after it.
  if (run_.max_epochs != -1 && epoch_.current.processed >= run_.max_epochs) return true;
  return run_.should_stop && can_stop_early();
}

void FitLoop::run() {
  run_.stage = Stage::kTrain;
  run_.metrics.use(&results_);
  if (done()) return;
  torch::GradMode::set_enabled(true);
  run_.call(Hook::kTrainStart, &Callback::on_train_start, &LightningModule::on_train_start);
  if (!run_.resumed_rank_state.empty()) {
    // From here on a resumed run draws the numbers that the run it resumes would have drawn.
    set_generator_states(run_.resumed_rank_state, run_.placement.device);
    run_.resumed_rank_state.clear();
  }
  while (!done()) run_epoch();
  run_.call(Hook::kOther, &Callback::on_train_end, &LightningModule::on_train_end);
}

void FitLoop::run_epoch() {
  if (!resumed_within_epoch_) {
    batch_.current = {};
    is_last_batch_ = false;
    validated_ = false;
    if (part_.samples > 0) begin_epoch({});
  }
  // Reading ahead starts here, while the hooks run.
  auto batches = loader_.epoch(epoch_.current.processed, std::min(batches_of_part(), epoch_batches_ - part_.first_batch));
  if (!resumed_within_epoch_) {
    epoch_.increment_ready();
    run_.call(Hook::kTrainEpochStart, &Callback::on_train_epoch_start, &LightningModule::on_train_epoch_start);
    epoch_.increment_started();
  }
  if (std::exchange(resumed_after_batch_, false)) after_batch();
  resumed_within_epoch_ = false;
  while (!epoch_done()) {
    if (!train_batch(batches)) break;
    after_batch();
  }

  run_.metrics.epoch_end_reached();
  epoch_.increment_processed();
  {
    const Trainer::Impl::HookScope scope(run_, Hook::kTrainEpochEnd);
    const auto callbacks = [&](bool monitoring) {
      for (const auto& callback : run_.callbacks) {
        if (callback->monitors() == monitoring) callback->on_train_epoch_end(run_.self, *run_.module);
      }
    };
    callbacks(false);
    run_.metrics.refresh();
    run_.module->on_train_epoch_end();
    run_.metrics.refresh();
    callbacks(true);
  }
  run_.metrics.refresh();
  run_.metrics.to_loggers(std::max<std::int64_t>(0, batches_that_stepped_ - 1));  // at the last step, not at the next
  run_.metrics.reset_results();
  epoch_.increment_completed();
}

bool FitLoop::epoch_done() const {
  if (max_steps_reached() || epoch_exhausted()) return true;
  return run_.should_stop && can_stop_early();
}

bool FitLoop::accumulates() const {
  return batches_of_part() % run_.accumulate != 0 && !epoch_exhausted();
}

bool FitLoop::train_batch(DataLoader::Iterator& batches) {
  auto fetched = batches.next();
  if (!fetched) return false;
  const auto batch_idx = batch_.current.ready;
  is_last_batch_ = batch_idx + 1 >= epoch_batches_;
  validated_ = false;
  const auto batch = run_.to_device(std::move(*fetched));
  batch_.increment_ready();
  run_.metrics.on_batch_start(batch.input.defined() && batch.input.dim() > 0 ? batch.size() : 1);

  run_.call_callbacks(Hook::kTrainBatchStart, &Callback::on_train_batch_start, batch, batch_idx);
  if (run_.call_module(Hook::kTrainBatchStart, &LightningModule::on_train_batch_start, batch, batch_idx) == -1) {
    is_last_batch_ = true;
    batch_.increment_processed();
    return false;
  }
  batch_.increment_started();
  const auto loss = optimize(batch, batch_idx);
  batch_.increment_processed();
  runtime::pulse().step("train", current_epoch(), batch_idx + 1);
  run_.call(Hook::kTrainBatchEnd, &Callback::on_train_batch_end, &LightningModule::on_train_batch_end, loss, batch, batch_idx);
  run_.metrics.on_batch_end();
  batch_.increment_completed();
  if (!accumulates()) run_.metrics.step_to_loggers(batches_that_stepped_, run_.should_stop);
  return true;
}

torch::Tensor FitLoop::optimize(const Batch& batch, std::int64_t batch_idx) {
  auto& strategy = *run_.placement.strategy;
  const auto every = run_.accumulate;
  const bool sync = !accumulates();
  strategy.before_forward(sync);
  const auto loss = run_.call_module(Hook::kTrainingStep, &LightningModule::training_step, batch, batch_idx);
  if ((batch_idx - part_.first_batch) % every == 0) {
    run_.call(Hook::kBeforeZeroGrad, &Callback::on_before_zero_grad, &LightningModule::on_before_zero_grad, *run_.optimizer);
    strategy.zero_grad(run_.optimizer->parameters());
    has_gradients_ = false;
  }
  if (loss.defined()) {
    if (loss.numel() != 1) {
      throw std::logic_error("training_step returned a tensor of " + std::to_string(loss.numel()) + " elements, expected the loss: one element");
    }
    if (!loss.requires_grad()) throw std::logic_error("training_step returned a loss that does not depend on any parameter that requires a gradient");
    const auto scaled = every == 1 ? loss : loss / static_cast<double>(every);
    run_.call(Hook::kBeforeBackward, &Callback::on_before_backward, &LightningModule::on_before_backward, scaled);
    strategy.backward(scaled, sync);
    has_gradients_ = true;
    run_.call(Hook::kAfterBackward, &Callback::on_after_backward, &LightningModule::on_after_backward);
  }
  if (sync) step_optimizer();
  return loss.defined() ? loss.detach() : loss;
}

void FitLoop::step_optimizer() {
  run_.call(Hook::kBeforeOptimizerStep, &Callback::on_before_optimizer_step, &LightningModule::on_before_optimizer_step, *run_.optimizer);
  if (has_gradients_) {  // else nothing was learned: gradients that are zero and not absent would still move the parameters
    if (run_.options.gradient_clip_val.value_or(0) > 0) clip_gradients();
    run_.optimizer->step();
  }
  ++steps_;
}

void FitLoop::clip_gradients() {
  const torch::NoGradGuard no_grad;
  const auto limit = *run_.options.gradient_clip_val;
  std::vector<torch::Tensor> gradients;
  for (const auto& parameter : run_.optimizer->parameters()) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  if (gradients.empty()) return;
  if (run_.options.gradient_clip_algorithm == "value") {
    at::_foreach_clamp_min_(gradients, -limit);
    at::_foreach_clamp_max_(gradients, limit);
    return;
  }
  // torch.nn.utils.clip_grad_norm_, without reading the norm back.
  const auto norm = torch::stack(at::_foreach_norm(gradients, 2)).norm();
  const auto factor = (limit / (norm + 1e-6)).clamp_max(1.0);
  for (auto& gradient : gradients) gradient.mul_(factor);
}

bool FitLoop::validates_in_this_epoch() const {
  const auto& every = run_.options.check_val_every_n_epoch;
  return run_.validation.max_batches() > 0 && (!every || (current_epoch() + 1) % *every == 0);
}

bool FitLoop::validation_is_due() const {
  if (!validates_in_this_epoch()) return false;
  if (run_.should_stop && can_stop_early()) return true;
  const auto batches = run_.options.check_val_every_n_epoch ? batch_.current.ready : batch_.total.ready;
  return batches % *val_check_batch_ == 0;
}

void FitLoop::after_batch() {
  if (!validated_ && validation_is_due()) {
    const auto first_iteration = run_.metrics.first_iteration();
    if (!accumulates()) run_.call_module(Hook::kOther, &LightningModule::on_validation_model_zero_grad);
    validated_ = true;  // for the checkpoints of its end hooks: a run resumed from one does not repeat it
    run_.validation.evaluate(Stage::kValidate);
    run_.metrics.use(&results_);
    run_.metrics.set_first_iteration(first_iteration);
  }
  if (accumulates()) return;
  run_.make_way_if_asked(runtime::yield_point().next_step());  // no gradient is pending: others may go on from here
  ++batches_that_stepped_;
}

// ---- state -----------------------------------------------------------------------------------------------------

nlohmann::json FitLoop::state() const {
  return {{"epoch", epoch_},
          {"batch", batch_},
          {"optimizer_steps", steps_},
          {"batches_that_stepped", batches_that_stepped_},
          {"is_last_batch", is_last_batch_},
          {"validated", validated_ && (run_.stage != Stage::kValidate || run_.validation.is_ending())},
          {"has_gradients", has_gradients_},
          {"part", {{"samples", part_.samples}, {"first_batch", part_.first_batch}}},
          {"samples_seen", loader_.defined() ? samples_seen() : 0}};
}

void FitLoop::load_state(const nlohmann::json& state, int saved_world_size) {
  start_over();
  epoch_ = state.at("epoch").get<LoopProgress>();
  batch_ = state.at("batch").get<LoopProgress>();
  steps_ = state.at("optimizer_steps").get<std::int64_t>();
  batches_that_stepped_ = state.at("batches_that_stepped").get<std::int64_t>();
  has_gradients_ = state.at("has_gradients").get<bool>();
  const bool within_epoch = epoch_.current.started > epoch_.current.processed;
  if (!within_epoch) {
    epoch_.rewind_to_processed();
    return;
  }
  resumed_within_epoch_ = true;
  // A batch that was processed needs nothing but, perhaps, its validation; one that was not is trained from its beginning.
  resumed_after_batch_ = batch_.current.processed > 0 && batch_.current.ready == batch_.current.processed;
  batch_.rewind_to_processed();
  saved_world_size_ = saved_world_size;
  saved_samples_ = state.value("samples_seen", std::int64_t{-1});
  if (const auto part = state.find("part"); part != state.end()) part_ = {part->at("samples").get<std::int64_t>(), part->at("first_batch").get<std::int64_t>()};
  validated_ = state.at("validated").get<bool>();
  is_last_batch_ = resumed_after_batch_ && state.at("is_last_batch").get<bool>();
}

std::map<std::string, torch::Tensor> FitLoop::pending_gradients() const {
  std::map<std::string, torch::Tensor> gradients;
  const bool between = (batch_.current.processed - part_.first_batch) % run_.accumulate == 0 || epoch_exhausted();
  if (between || !has_gradients_ || epoch_.current.started == epoch_.current.processed) return gradients;
  for (const auto& item : run_.attachment->module->named_parameters()) {
    if (item.value().grad().defined()) gradients.emplace(item.key(), item.value().grad());
  }
  return gradients;
}

void FitLoop::load_pending_gradients(const std::map<std::string, torch::Tensor>& gradients) {
  for (const auto& item : run_.module->named_parameters()) {
    const auto found = gradients.find(item.key());
    if (found != gradients.end()) item.value().mutable_grad() = found->second.to(item.value().device(), /*non_blocking=*/false, /*copy=*/true);
  }
}

}  // namespace rtrain
