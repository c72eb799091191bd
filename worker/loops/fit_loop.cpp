#include "worker/loops/fit_loop.h"

#include "common/base/nan.h"
#include "worker/loops/same_batch.h"
#include "worker/run/attachment.h"
#include "worker/run/data_ranks.h"
#include "worker/run/generator_states.h"
#include "worker/run/warn.h"
#include "worker/runtime/json.h"
#include "worker/runtime/roll_call.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <stdexcept>

namespace rtrain {
namespace {

/// Of one element. Converting it to another type would be a quarter of what the loop costs a step.
double number_in(const torch::Tensor& loss) {
  if (loss.is_cpu() && loss.scalar_type() == torch::kFloat32) return *loss.const_data_ptr<float>();
  if (loss.is_cpu() && loss.scalar_type() == torch::kFloat64) return *loss.const_data_ptr<double>();
  return loss.detach().to(torch::kFloat64).item<double>();
}

}  // namespace

void FitLoop::set_data(std::function<BatchSource()> make) {
  make_data_ = std::move(make);
  load();
  if (saved_loaded_in_epoch_) {
    loaded_in_epoch_ = saved_loaded_in_epoch_->training;
    validation_.set_loaded_in_epoch(saved_loaded_in_epoch_->validation);
    saved_loaded_in_epoch_.reset();
  }
  require_joinable();
  if (resumed_within_epoch_ && saved_data_ranks_ != data_ranks()) share_rest_of_epoch();
  begin_epoch(part_);
  require_equal_batches();
}

void FitLoop::load() {
  data_ = make_data_();
  (void)data_.start_after(0);  // a fit before may have left it elsewhere
  loaded_in_epoch_ = current_epoch();
  max_batches_ = data_.size();
}

/// Every batch is a step that all ranks take together: one that has fewer would leave the others waiting in
/// the last ones.
void FitLoop::require_equal_batches() const {
  auto& strategy = run_.strategy();
  if (!strategy.is_distributed() || data_.has_stream()) return;  // goes_on() ends those
  std::vector<std::string> batches;
  for (const auto& row : strategy.all_gather(
           torch::tensor({epoch_batches_}, torch::dtype(torch::kInt64).device(strategy.device())))) {
    batches.push_back(std::to_string(row.item<std::int64_t>()));
  }
  if (std::all_of(batches.begin(), batches.end(), [&](const auto& b) { return b == batches.front(); }))
    return;
  throw std::invalid_argument(
      "fit: the ranks have different numbers of training batches in an epoch: " +
      runtime::grouped_by_value(batches) +
      "; give each rank the same number (DistributedSampler does), or set limit_train_batches");
}

/// That read different data.
int FitLoop::data_ranks() const {
  return rtrain::data_ranks(run_.strategy().mesh(), run_.placement.world_size);
}

/// Another number of ranks took the epoch's first samples: those of now share the rest. Accumulations that
/// were not complete are begun again, their gradients are gone.
void FitLoop::share_rest_of_epoch() {
  const auto samples = saved_samples_ >= 0
                           ? saved_samples_
                           : batch_.current.processed * data_.batch_size() * saved_data_ranks_;
  const bool possible = data_.start_after(samples);
  const auto batches =
      possible ? batch_.current.processed : batch_.current.processed * saved_data_ranks_ / data_ranks();
  for (auto* progress : {&batch_.total, &batch_.current}) {
    progress->processed += batches - batch_.current.processed;
    progress->ready = progress->started = progress->completed = progress->processed;
  }
  if (possible)
    part_ = {samples, batches};
  else
    warn(
        "the training data comes from a sampler or a stream that cannot resume within an epoch with a "
        "different number of ranks: samples may be seen twice, or not at all");
}

void FitLoop::begin_epoch(Part part) {
  part_ = part;
  epoch_batches_ = max_batches_;
  if (data_.start_after(part_.samples) && part_.samples > 0) {
    const auto at_once = data_.batch_size() * data_ranks();
    const auto allowed = std::max<std::int64_t>(0, max_batches_ * at_once - part_.samples);
    epoch_batches_ = part_.first_batch + std::min(data_.size_of_rest(), (allowed + at_once - 1) / at_once);
  }
  if (epoch_end() == EpochEnd::kLast) epoch_batches_ = most_of_ranks(epoch_batches_);
  choose_validation_interval();
}

std::int64_t FitLoop::samples_seen() const {
  const auto done = batch_.current.processed - part_.first_batch;
  const auto learned = epoch_exhausted() ? done : done - done % run_.accumulate;
  return part_.samples + learned * data_.batch_size() * data_ranks();
}

void FitLoop::choose_validation_interval() {
  const auto& interval = run_.options.val_check_interval;
  if (interval.is_fraction() && epoch_batches_ == kUnknownBatches) {
    if (interval.fraction() != 1.0)
      throw std::invalid_argument(
          "val_check_interval is " + runtime::dump_json(interval.fraction()) +
          " of a stream whose length is not known: set 1.0 (at the end of an epoch), a "
          "number of batches, or give its IterableDataset a size()");
    val_check_batch_ = kUnknownBatches;
    return;
  }
  if (interval.is_fraction()) {
    val_check_batch_ = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(static_cast<double>(epoch_batches_) * interval.fraction()));
    return;
  }
  val_check_batch_ = interval.batches();
  if (max_batches_ > 0 && interval.batches() > max_batches_ && run_.options.check_val_every_n_epoch &&
      validation_.max_batches() > 0) {
    throw std::invalid_argument("val_check_interval is " + std::to_string(interval.batches()) +
                                ", but an epoch has " + std::to_string(max_batches_) +
                                " training batches: choose less, or set check_val_every_n_epoch = "
                                "std::nullopt to count batches over all epochs, or "
                                "limit_val_batches = 0 for no validation");
  }
}

void FitLoop::start_over() {
  drop_graphs();
  graphed_steps_ = 0;
  data_ = {};
  make_data_ = nullptr;
  saved_loaded_in_epoch_.reset();
  max_batches_ = epoch_batches_ = 0;
  run_.epochs = batch_ = {};
  part_ = {};
  run_.optimizer_steps = run_.batches_that_stepped = 0;
  is_last_batch_ = epoch_schedulers_due_ = validated_in_epoch_ = validated_ = resumed_within_epoch_ =
      resumed_after_batch_ = stop_validated_ = past_stop_ = cut_ = stop_is_agreed_ = warned_of_loss_ = false;
  step_.set_has_gradients(false);
  warned_of_stream_end_ = false;
  place_ = place_before_ = nullptr;
  turn_ = {};
  manual_.start_over();
  generators_at_cut_.clear();
  gradients_at_cut_.clear();
  results_.clear();
}

bool FitLoop::max_steps_reached() const {
  return run_.options.max_steps != -1 && run_.optimizer_steps >= run_.options.max_steps;
}

bool FitLoop::can_stop_early() const {
  return run_.epochs.current.processed >= run_.min_epochs &&
         run_.optimizer_steps >= run_.options.min_steps.value_or(0);
}

bool FitLoop::done() const {
  if (max_batches_ == 0) return true;
  // `processed` is counted before on_train_epoch_end, where checkpoints are saved; `completed` after it.
  if (run_.max_epochs != -1 && run_.epochs.current.processed >= run_.max_epochs) return true;
  if (resumed_within_epoch_) return false;  // what is left of that epoch, if only its validation and its end
  return max_steps_reached() || stops_early();
}

/// One rank that stops alone would leave the others waiting for it.
bool FitLoop::stops_early() const {
  if (!run_.should_stop) stop_is_agreed_ = false;
  if (!run_.should_stop || !can_stop_early()) return false;
  if (!std::exchange(stop_is_agreed_, true)) run_.strategy().meet("a stop (set_should_stop)");
  return true;
}

void FitLoop::run() {
  run_.stage = Stage::kTrain;
  run_.metrics.use(&results_);
  // From here on a resumed run draws the numbers that the run it resumes would have drawn.
  const auto resume_generators = [&] {
    if (run_.resumed_generators.empty()) return;
    set_generator_states(run_.resumed_generators, run_.placement.device);
    run_.resumed_generators.clear();
  };
  if (done()) {
    if (!cut_) resume_generators();  // what it saves is what it resumed; a cut epoch keeps its own
    return;
  }
  torch::GradMode::set_enabled(true);
  const ProfiledFit profiled(run_.live_profiling.get());
  run_.call(Hook::kTrainStart, &Callback::on_train_start, &LightningModule::on_train_start);
  resume_generators();
  step_epoch_schedulers();
  while (!done()) run_epoch();
  run_.settle_parameters();
  run_.plan->hold_equal_parameters();
  run_.call(Hook::kTrainEnd, &Callback::on_train_end, &LightningModule::on_train_end);
}

void FitLoop::for_each_batch(const std::function<void(const Batch&)>& body) {
  const auto first_iteration = run_.metrics.first_iteration();
  LoggedMetrics unheard(/*training=*/true);
  run_.metrics.use(&unheard);
  auto batches = data_.epoch(run_.epochs.current.processed);
  for (std::int64_t i = 0; i < max_batches_; ++i) {
    if (data_.has_stream() && !goes_on(batches, i, EpochEnd::kFirst)) break;
    auto fetched = batches.next();
    if (!fetched) break;
    const auto batch = run_.to_device(std::move(*fetched));
    run_.plan->before_forward(/*sync=*/false);
    const auto types = run_.precision().forward_scope(run_.placement.device);
    const RunContext::HookScope scope(run_, Hook::kTrainingStep);
    body(batch);
    run_.plan->after_batch();
  }
  run_.metrics.use(&results_);
  run_.metrics.set_first_iteration(first_iteration);
}

StepOutput FitLoop::try_step(const Batch& batch, const StepPlace& place) {
  const RunContext::HookScope scope(run_, Hook::kOptimization);
  auto output = step_.run(batch, place);
  if (place.sync) step_.set_has_gradients(false);
  return output;
}

void FitLoop::run_epoch() {
  turn_ = {};
  if (!resumed_within_epoch_) {
    place_ = place_before_ = nullptr;
    if (std::exchange(cut_, false)) run_.metrics.reset_results();  // a hook took the stop back
    batch_.current = {};
    is_last_batch_ = false;
    validated_ = validated_in_epoch_ = false;
    const auto every = run_.options.reload_dataloaders_every_n_epochs;
    if (every > 0 && current_epoch() - loaded_in_epoch_ >= every) {
      load();
      begin_epoch({});
      require_equal_batches();
    } else if (part_.samples > 0) {
      begin_epoch({});
    }
    data_.set_epoch(run_.epochs.current.processed);
    run_.epochs.increment_ready();
    run_.settle_parameters();
    run_.call(Hook::kTrainEpochStart, &Callback::on_train_epoch_start,
              &LightningModule::on_train_epoch_start);
    run_.epochs.increment_started();
  }
  // After the hook, as Lightning: what it changes of the data is in this epoch. Reading ahead starts here.
  auto batches = open_data();
  feed_.begin();
  if (std::exchange(resumed_after_batch_, false)) after_batch();
  resumed_within_epoch_ = past_stop_ = false;
  bool more = true;
  if (!epoch_done() && data_.has_stream()) more = goes_on(batches, batch_.current.ready, epoch_end());
  if (!more && batch_.current.ready == 0)
    throw std::runtime_error("fit: the training data gives no batch in epoch " +
                             std::to_string(current_epoch()) + " (" + data_.parts() +
                             "), on this rank or on another");
  {
    const RunContext::Timed timed(run_, [] { return "run_training_epoch"; });
    while (more && !epoch_done()) {
      if (run_.profile_point.asked() && run_.live_profiling) [[unlikely]]
        run_.live_profiling->between_batches();
      more = train_batch(batches);
      if (more) after_batch();
    }
  }
  feed_.end();
  run_.settle_parameters();
  if (more && !epoch_exhausted()) cut_epoch();

  run_.metrics.epoch_end_reached();
  run_.epochs.increment_processed();
  epoch_schedulers_due_ = epoch_exhausted();
  {
    const RunContext::HookScope scope(run_, Hook::kTrainEpochEnd);
    const auto callbacks = [&](bool plain) {
      for (const auto& callback : run_.callbacks) {
        if ((callback->order() <= CallbackOrder::kPlain) != plain) continue;
        const RunContext::Timed timed(run_, [&] { return run_.action_of(*callback, Hook::kTrainEpochEnd); });
        callback->on_train_epoch_end(run_.trainer, *run_.module);
      }
    };
    callbacks(true);
    run_.metrics.refresh();
    {
      const RunContext::Timed timed(run_, [&] { return run_.action_of_module(Hook::kTrainEpochEnd); });
      run_.module->on_train_epoch_end();
    }
    run_.metrics.refresh();
    callbacks(false);
  }
  run_.metrics.refresh();
  step_epoch_schedulers();
  // at the last step, not at the next
  run_.metrics.to_loggers(std::max<std::int64_t>(0, run_.batches_that_stepped - 1), current_epoch());
  if (!cut_) run_.metrics.reset_results();  // else a run that goes on there adds to them
  run_.epochs.increment_completed();
}

/// A checkpoint of the hooks before has it still to come.
void FitLoop::step_epoch_schedulers() {
  if (std::exchange(epoch_schedulers_due_, false))
    lr_stepping_.after_epoch(run_.epochs.current.processed, validated_in_epoch_);
}

/// max_steps or should_stop ends the epoch here. A run that is allowed more goes on with the next batch as if
/// nothing had been.
void FitLoop::cut_epoch() {
  gradients_at_cut_.clear();
  for (const auto& [name, gradient] : pending_gradients())
    gradients_at_cut_.emplace(name, gradient.detach().to(torch::kCPU, /*non_blocking=*/false, /*copy=*/true));
  generators_at_cut_ =
      stop_validated_ ? validation_.generators_before() : generator_states(run_.placement.device);
  cut_ = true;
}

bool FitLoop::epoch_done() const { return max_steps_reached() || epoch_exhausted() || stops_early(); }

bool FitLoop::accumulates() const { return batches_of_part() % run_.accumulate != 0 && !epoch_exhausted(); }

bool FitLoop::train_batch(BatchSource::Iterator& batches) {
  const auto batch_idx = run_.batch_idx = batch_.current.ready;
  const auto turn = turn_;
  auto fetched = [&]() -> BatchFeed::Taken {
    const RunContext::HookScope scope(run_, Hook::kNextBatch);
    if (!turn.has_batch) return {nullptr, Batch()};
    return feed_.take(batches);
  }();
  if (!fetched) return false;
  is_last_batch_ = batch_idx + 1 >= epoch_batches_;
  if (data_.has_stream()) {
    is_last_batch_ = !goes_on(batches, batch_idx + 1, epoch_end());
    place_before_ = std::exchange(place_, batches.save_state());  // of the pass that follows, if one does
  }
  validated_ = stop_validated_ = false;
  const auto batch = turn.has_batch ? feed_.to_device(std::move(fetched)) : std::move(*fetched.batch);
  // One look an epoch: data of different seeds or samplers differ from the beginning.
  if (batches_of_part() == 0 && turn.has_batch)
    require_same_batch(run_.strategy(), batch,
                       "fit: the first training batch of epoch " + std::to_string(current_epoch()));
  batch_.increment_ready();
  run_.metrics.on_batch_start(batch.empty() ? 1 : batch.size());

  run_.call_callbacks(Hook::kTrainBatchStart, &Callback::on_train_batch_start, batch, batch_idx);
  if (run_.call_module(Hook::kTrainBatchStart, &LightningModule::on_train_batch_start, batch, batch_idx) ==
      -1) {
    run_.strategy().meet("the rest of the epoch being left out (on_train_batch_start returned -1)");
    batch_.increment_processed();
    if (is_last_batch_) lr_stepping_.after_last_batch();
    is_last_batch_ = true;
    return false;
  }
  batch_.increment_started();
  if (!is_last_batch_ && turn_.has_batch) feed_.look_ahead(batches);
  const auto output = optimize(batch, batch_idx, turn);
  if (turn.ranks.count < run_.placement.world_size && epoch_end() == EpochEnd::kLast)
    run_.metrics.join_step(turn.has_batch, turn.ranks.first);
  run_.metrics.step_done();
  batch_.increment_processed();
  if (epoch_exhausted()) lr_stepping_.after_last_batch();
  run_.pulse.step("train", current_epoch(), batch_idx + 1);
  run_.call(Hook::kTrainBatchEnd, &Callback::on_train_batch_end, &LightningModule::on_train_batch_end, output,
            batch, batch_idx);
  run_.metrics.on_batch_end();
  batch_.increment_completed();
  if (!accumulates())
    run_.metrics.step_to_loggers(run_.batches_that_stepped, current_epoch(), run_.should_stop);
  return true;
}

StepOutput FitLoop::optimize(const Batch& batch, std::int64_t batch_idx, const Turn& turn) {
  const RunContext::HookScope scope(run_, Hook::kOptimization);
  const bool sync = !accumulates();
  const StepPlace place{.batch_idx = batch_idx,
                        .first = (batch_idx - part_.first_batch) % run_.accumulate == 0,
                        .sync = sync,
                        .has_batch = turn.has_batch};
  if (epoch_end() == EpochEnd::kLast) run_.plan->join_ranks(turn.ranks);
  auto output = !run_.automatic       ? manual_.run(batch, batch_idx)
                : graphed_ == nullptr ? step_.run(batch, place)
                                      : run_graphed(batch, place);
  if (sync && run_.automatic) lr_stepping_.after_optimizer_step(++run_.optimizer_steps);
  if (output.loss.defined()) warn_unless_finite(output.loss, batch_idx);
  return output;
}

StepOutput FitLoop::run_graphed(const Batch& batch, const StepPlace& place) {
  const RunContext::Timed timed(run_, [&] { return run_.action_of_strategy("graphed_step"); });
  if (!place.first || !place.sync)
    graphed_->fall_back("a step takes several batches now (set_accumulate_grad_batches)");
  return graphed_->run(batch, [this, place](const Batch& of_step) { return step_.run(of_step, place); });
}

void FitLoop::capture_steps(std::shared_ptr<Recorder> recorder) {
  StepCapture::Limits limits;
  GraphedStep::Of of{.optimizer = *run_.optimizers.front(),
                     .module = *run_.module,
                     .device = run_.placement.device,
                     .metrics = &run_.metrics,
                     .warn = [](const std::string& text) { warn(text); }};
  if (run_.strategy().is_distributed()) {
    // c10d's Reducer cuts its buckets anew, and measures, in its first steps:
    // https://docs.pytorch.org/docs/2.11/notes/cuda.html#usage-with-distributeddataparallel
    limits.warmup = 11;
    of.meet = [this](const std::string& place) { run_.strategy().meet(place); };
  }
  graphed_ = std::make_unique<GraphedStep>(std::move(recorder), std::move(of), limits);
}

void FitLoop::drop_graphs() {
  if (graphed_ == nullptr) return;
  graphed_steps_ = graphed_->replays();
  graphed_.reset();
}

/// Reading a loss on a GPU waits for it: there only those of the steps that are logged are read.
void FitLoop::warn_unless_finite(const torch::Tensor& loss, std::int64_t batch_idx) {
  const auto every = run_.options.log_every_n_steps;
  const bool reads =
      loss.is_cpu() || is_last_batch_ || (every > 0 && (run_.batches_that_stepped + 1) % every == 0);
  if (warned_of_loss_ || !reads) return;
  const auto value = number_in(loss);
  if (std::isfinite(value)) return;
  warned_of_loss_ = true;
  std::cerr << "rtrain: warning: the loss is " << unsigned_nan(value) << " on rank "
            << run_.placement.global_rank << " in epoch " << current_epoch() << ", batch " << batch_idx
            << " (global_step " << run_.optimizer_steps << "); training continues" << std::endl;
}

bool FitLoop::validates_in_this_epoch() const {
  const auto& every = run_.options.check_val_every_n_epoch;
  return validation_.max_batches() > 0 && (!every || (current_epoch() + 1) % *every == 0);
}

bool FitLoop::validation_is_due() const {
  if (!validates_in_this_epoch()) return false;
  return stops_early() || validation_is_regular();
}

bool FitLoop::validation_is_regular() const {
  const auto batches = run_.options.check_val_every_n_epoch ? batch_.current.ready : batch_.total.ready;
  if (val_check_batch_ == kUnknownBatches) return is_last_batch_;
  return batches % *val_check_batch_ == 0;
}

void FitLoop::after_batch() {
  if (!validated_ && validation_is_due()) {
    const auto first_iteration = run_.metrics.first_iteration();
    if (!accumulates())
      run_.call_module(Hook::kValidationModelZeroGrad, &LightningModule::on_validation_model_zero_grad);
    stop_validated_ = !validation_is_regular();
    validated_in_epoch_ = true;
    validated_ = true;  // for the checkpoints of its end hooks: a run resumed from one does not repeat it
    validation_.evaluate(Stage::kValidate);
    run_.metrics.use(&results_);
    run_.metrics.set_first_iteration(first_iteration);
  }
  if (accumulates()) return;
  lr_stepping_.after_validation_of_step(run_.optimizer_steps);
  // no gradient is pending: others may go on from here
  run_.yield_if(run_.yield_point.next_step());
  ++run_.batches_that_stepped;
}

// ---- state --------------------------------------------------------------------------------------

nlohmann::json FitLoop::state() const {
  return {
      {"epoch", run_.epochs},
      {"batch", batch_},
      {"optimizer_steps", run_.optimizer_steps},
      {"batches_that_stepped", run_.batches_that_stepped},
      {"is_last_batch", is_last_batch_},
      {"validated", validated_ && (run_.stage != Stage::kValidate || validation_.is_ending())},
      {"has_gradients", step_.has_gradients()},
      {"should_stop", run_.should_stop},
      {"out_of_time", run_.out_of_time},
      {"max_epochs", run_.max_epochs},
      {"max_steps", run_.options.max_steps},
      {"cut", cut_},
      {"validated_in_epoch", validated_in_epoch_},
      {"epoch_schedulers_due", epoch_schedulers_due_},
      {"part", {{"samples", part_.samples}, {"first_batch", part_.first_batch}}},
      {"loaded_in_epoch", {{"training", loaded_in_epoch_}, {"validation", validation_.loaded_in_epoch()}}},
      {"samples_seen", data_.defined() ? samples_seen() : 0}};
}

/// Whether this run may be longer than the one that `state` is of.
bool FitLoop::may_go_further(const nlohmann::json& state) const {
  const auto raised = [](std::int64_t now, std::int64_t before) {
    return before != -1 && (now == -1 || now > before);
  };
  return raised(run_.max_epochs, state.value("max_epochs", std::int64_t{-1})) ||
         raised(run_.options.max_steps, state.value("max_steps", std::int64_t{-1}));
}

void FitLoop::load_state(const nlohmann::json& state, int saved_data_ranks, bool retry) {
  start_over();
  run_.epochs = state.at("epoch").get<LoopProgress>();
  batch_ = state.at("batch").get<LoopProgress>();
  run_.optimizer_steps = state.at("optimizer_steps").get<std::int64_t>();
  run_.batches_that_stepped = state.at("batches_that_stepped").get<std::int64_t>();
  step_.set_has_gradients(state.at("has_gradients").get<bool>());
  const bool within_epoch = run_.epochs.current.started > run_.epochs.current.processed;
  const bool cut = state.value("cut", false);
  const bool stopped = state.value("should_stop", false);
  run_.should_stop = stopped && !may_go_further(state) && (retry || !cut);
  if (state.value("out_of_time", false)) run_.should_stop = false;  // its Timer decides, here and now
  run_.should_stop = run_.should_stop || run_.out_of_time;
  past_stop_ = stopped && !run_.should_stop;
  validated_in_epoch_ = state.value("validated_in_epoch", true);
  epoch_schedulers_due_ = state.value("epoch_schedulers_due", false);
  if (const auto loaded = state.find("loaded_in_epoch"); loaded != state.end())
    saved_loaded_in_epoch_ = {loaded->at("training").get<std::int64_t>(),
                              loaded->at("validation").get<std::int64_t>()};
  if (const auto part = state.find("part"); part != state.end())
    part_ = {part->at("samples").get<std::int64_t>(), part->at("first_batch").get<std::int64_t>()};
  if (cut && !within_epoch) {
    cut_ = true;
    if (max_steps_reached() || (run_.should_stop && can_stop_early()))
      return run_.epochs.rewind_to_processed();  // it stays where it ended
    for (auto* p : {&run_.epochs.total, &run_.epochs.current}) p->completed = --p->processed;
    past_stop_ = true;
    cut_ = false;
  } else if (!within_epoch) {
    part_ = {};
    return run_.epochs.rewind_to_processed();
  }
  resumed_within_epoch_ = true;
  // A batch that was processed needs nothing but, perhaps, its validation; one that was not is trained from
  // its beginning.
  resumed_after_batch_ =
      !cut && batch_.current.processed > 0 && batch_.current.ready == batch_.current.processed;
  batch_.rewind_to_processed();
  saved_data_ranks_ = saved_data_ranks;
  saved_samples_ = state.value("samples_seen", std::int64_t{-1});
  validated_ = state.at("validated").get<bool>();
  is_last_batch_ = resumed_after_batch_ && state.at("is_last_batch").get<bool>();
}

std::map<std::string, torch::Tensor> FitLoop::generators() const {
  const bool within_validation =
      run_.stage == Stage::kValidate && run_.function == Stage::kFit && !validation_.is_ending();
  if (within_validation) return validation_.generators_before();
  auto states = generator_states(run_.placement.device);
  if (!cut_ && !stop_validated_) return states;
  for (const auto& [name, state] : cut_ ? generators_at_cut_ : validation_.generators_before())
    states.emplace("unstopped." + name, state);
  return states;
}

std::map<std::string, torch::Tensor> FitLoop::pending_gradients() const {
  if (cut_) return gradients_at_cut_;
  if (!run_.automatic) return manual_.pending_gradients();
  const bool between =
      (batch_.current.processed - part_.first_batch) % run_.accumulate == 0 || epoch_exhausted();
  if (between || !step_.has_gradients() || run_.epochs.current.started == run_.epochs.current.processed)
    return {};
  return run_.plan->pending_gradients();
}

void FitLoop::keep_cut(std::map<std::string, torch::Tensor> generators,
                       std::map<std::string, torch::Tensor> gradients) {
  generators_at_cut_ = std::move(generators);
  gradients_at_cut_ = std::move(gradients);
}

void FitLoop::load_pending_gradients(const std::map<std::string, torch::Tensor>& gradients) {
  if (!run_.automatic) manual_.expect_gradients(gradients);
  run_.plan->load_pending_gradients(gradients);
}

}  // namespace rtrain
