#include <rtrain/trainer.h>

#include "worker/runtime/failure_place.h"
#include "worker/sdk/job.h"
#include "worker/trainer/samplers.h"
#include "worker/trainer/seed.h"
#include "worker/trainer/trainer_impl.h"

#include <c10/core/DeviceGuard.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <stdexcept>

namespace rtrain {

void warn(const std::string& text) {
  if (get_context().get_world_rank() == 0) std::cerr << "rtrain: warning: " << text << std::endl;
}

Trainer::Impl::Impl(Trainer& trainer, TrainerOptions given)
    : self(trainer),
      options(std::move(given)),
      placement(check_options(options)),
      callbacks(arrange_callbacks(options)),
      metrics(*placement.strategy,
              placement.global_rank == 0 ? options.loggers : std::vector<std::shared_ptr<Logger>>{},
              options.log_every_n_steps),
      validation(*this),
      evaluation(*this),
      fit_loop(*this) {
  attachment->trainer = &trainer;
  if (!options.seed) return;
  if (drawn_without_seed()) {
    warn(
        "Trainer: seed is set now, but random numbers were drawn before: what was made of them, such as the "
        "model's parameters, is another in each run; call "
        "rtrain::seed_everything(" +
        std::to_string(*options.seed) + ") before the model is built");
  }
  seed_everything(*options.seed);
}

Trainer::Impl::~Impl() { attachment->trainer = nullptr; }

std::string parts_of(const DataLoader& loader) {
  const auto& o = loader.options();
  return std::to_string(loader.sampler().size()) + " samples, batch_size " + std::to_string(o.batch_size) +
         (o.drop_last ? ", drop_last" : "");
}

void Trainer::Impl::make_way_if_asked(bool stops_here) {
  if (!stops_here) return;
  // Before the first step, and outside of a fit, there is nothing that a restart would miss.
  if (function == Stage::kFit && stage != Stage::kSanityCheck)
    call_callbacks(Hook::kYield, &Callback::on_yield);
  throw Yielded();
}

Batch Trainer::Impl::to_device(Batch batch) {
  const HookScope scope(*this, Hook::kTransferBatch);
  return module->on_after_batch_transfer(
      module->transfer_batch_to_device(module->on_before_batch_transfer(std::move(batch)), placement.device));
}

DataLoader Trainer::Impl::distributed(const DataLoader& loader, Stage loader_stage) const {
  // An elastic job that has shrunk to one rank keeps the order of the others.
  const bool shared =
      placement.strategy->is_distributed() || get_context().get_max_world_size() > placement.world_size;
  if (!loader.defined() || !options.use_distributed_sampler || !shared) return loader;
  const auto& sampler = loader.sampler();
  if (dynamic_cast<const DistributedSampler*>(&sampler) != nullptr) return loader;
  if (loader_stage == Stage::kPredict)
    return loader.with_sampler(own_part_without_padding(loader, placement.world_size, placement.global_rank));
  // Lightning shuffles for training always, and elsewhere when the loader itself shuffles.
  const auto* random = dynamic_cast<const RandomSampler*>(&sampler);
  const bool shuffle = loader_stage == Stage::kTrain || random != nullptr;
  const auto seed =
      random != nullptr ? random->seed() : loader.options().seed;  // as with one rank: the loader's own
  return loader.with_sampler(own_part(loader, {.num_replicas = placement.world_size,
                                               .rank = placement.global_rank,
                                               .shuffle = shuffle,
                                               .seed = seed}));
}

bool Trainer::Impl::is_same_on_every_rank(std::int64_t value) const {
  auto bounds = torch::tensor({value, -value}, torch::TensorOptions(torch::kInt64).device(placement.device));
  placement.strategy->reduce(bounds, Strategy::Reduce::kMax);
  return bounds[0].item<std::int64_t>() == -bounds[1].item<std::int64_t>();
}

std::int64_t Trainer::Impl::batches_a_step() const {
  if (options.elastic_batch != "keep") return options.accumulate_grad_batches;
  const auto most = std::max(get_context().get_max_world_size(), placement.world_size);
  const double wanted = static_cast<double>(options.accumulate_grad_batches * most) / placement.world_size;
  const auto batches = std::max<std::int64_t>(1, std::llround(wanted));
  if (static_cast<double>(batches) != wanted)
    warn("elastic_batch \"keep\": " + std::to_string(placement.world_size) +
         " ranks cannot make up the batch of " + std::to_string(most) + " exactly; a step takes " +
         std::to_string(batches * placement.world_size) + " batches of all ranks instead of " +
         std::to_string(options.accumulate_grad_batches * most));
  return batches;
}

void Trainer::Impl::begin(Stage now, LightningModule& given) {
  if (running) throw std::logic_error("Trainer: a run is already going on; a Trainer runs one at a time");
  running = true;
  function = stage = now;
  module = &given;
  Attachment::tie(attachment, given);
  // The local rank 0 of each node prepares what all of it will read.
  if (placement.local_rank == 0) call_module(Hook::kPrepareData, &LightningModule::prepare_data);
  placement.strategy->barrier();
  call(Hook::kSetup, &Callback::setup, &LightningModule::setup, now);
  placement.strategy->barrier();
  call_module(Hook::kConfigureModel, &LightningModule::configure_model);
}

void Trainer::Impl::end() {
  placement.strategy->teardown();
  if (placement.device.is_cuda()) {
    // they would stay behind on the GPU
    for (auto& parameter : module->parameters()) parameter.mutable_grad().reset();
    module->to(torch::kCPU);
  }
  if (function == Stage::kFit) call(Hook::kFitEnd, &Callback::on_fit_end, &LightningModule::on_fit_end);
  call(Hook::kTeardown, &Callback::teardown, &LightningModule::teardown, function);
}

std::string Trainer::Impl::place_of(Hook hook) const {
  const auto& facts = facts_of(hook);
  std::string text = facts.name;
  if (stage == Stage::kSanityCheck)
    text += ", sanity check";
  else if (function == Stage::kFit && facts.period != HookPeriod::kRun)
    text += ", epoch " + std::to_string(fit_loop.current_epoch());
  if (facts.period == HookPeriod::kBatch) text += ", batch " + std::to_string(batch_idx);
  return text + ", rank " + std::to_string(placement.global_rank);
}

void Trainer::Impl::tell(const std::exception_ptr& failure) {
  if (!failed_in.empty()) {
    runtime::set_failure_place(failure, failed_in);
    // In a job the place is told with the job's error.
    if (!sdk::Job::current().active()) std::cerr << "rtrain: an exception leaves " << failed_in << std::endl;
  }
  if (module == nullptr) return;
  const auto tell_all = [&](const std::exception& error) {
    const HookScope scope(*this, Hook::kException);
    for (const auto& callback : callbacks) {
      try {
        callback->on_exception(self, *module, error);
      } catch (...) {
        warn("on_exception of " + callback->state_key() +
             " failed itself: " + runtime::failure_text(std::current_exception()));
      }
    }
  };
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    tell_all(error);
  } catch (...) {
    tell_all(std::runtime_error(runtime::failure_text(failure)));
  }
}

template <class Body>
void Trainer::Impl::guarded(Body body) {
  struct Quiet {  // leaves the Trainer usable, however the run ends
    Impl& run;
    ~Quiet() {
      run.running = false;
      run.current_hook = Hook::kNone;
      run.metrics.use(nullptr);
      run.module = nullptr;
      run.stage = run.function;
      run.failed_in.clear();
      run.resumed_rank_state.clear();
    }
  };
  c10::OptionalDeviceGuard device_guard;
  if (placement.device.is_cuda()) device_guard.reset_device(placement.device);
  const Quiet quiet{*this};
  try {
    body();
  } catch (const Yielded&) {
    placement.strategy->teardown();
    throw;
  } catch (...) {  // whatever can be thrown
    tell(std::current_exception());
    try {
      placement.strategy->teardown();
    } catch (...) {
      warn("the strategy's teardown failed after the exception: " +
           runtime::failure_text(std::current_exception()));
    }
    throw;
  }
}

void Trainer::Impl::fit(LightningModule& given, const DataLoader& train, const DataLoader& val,
                        const CheckpointPath& resume_from) {
  if (running)
    throw std::logic_error("Trainer: fit() was called from within a run; a Trainer runs one at a time");
  guarded([&] {
    max_epochs = options.max_epochs.value_or(-1);
    if (!options.max_epochs && options.max_steps == -1) {
      warn("max_epochs was not set: training for 1000 epochs; max_epochs = -1 trains without an end");
      max_epochs = 1000;
    }
    min_epochs = options.min_epochs.value_or(options.min_steps ? 1 : 0);
    should_stop = false;
    accumulate = batches_a_step();
    optimizer.reset();
    fit_loop.start_over();
    validation.set_data({}, 0, true);
    resumed_from =
        resume_from.path().empty() ? std::filesystem::path() : std::filesystem::absolute(resume_from.path());
    writer = new_writer();
    resumed_step = 0;

    begin(Stage::kFit, given);
    require_storable();
    std::optional<TrainerCheckpoint> saved;
    if (!resumed_from.empty()) {
      saved = read_checkpoint(resumed_from, placement.global_rank);
      if (const auto before = Writer::of(saved->loop); writer.retries(before)) writer.fit = before.fit;
      resumed_step = saved->loop.value("global_step", std::int64_t{0});
      restore_module_and_callbacks(*saved);
    }
    metrics.clear();
    given.to(placement.device);
    placement.strategy->setup(given, /*fitting=*/true);
    auto optimizers = call_module(Hook::kConfigureOptimizers, &LightningModule::configure_optimizers);
    if (optimizers.all.size() != 1 || optimizers.all.front() == nullptr) {
      throw std::logic_error("configure_optimizers returned " + std::to_string(optimizers.all.size()) +
                             " optimizers, expected exactly one");
    }
    optimizer = std::move(optimizers.all.front());
    call(Hook::kFitStart, &Callback::on_fit_start, &LightningModule::on_fit_start);
    for (auto& parameter : given.parameters()) parameter.mutable_grad().reset();
    if (saved) restore_training(*saved);

    const auto val_loader =
        distributed(val.defined() ? val : call_module(Hook::kValDataloader, &LightningModule::val_dataloader),
                    Stage::kValidate);
    const auto val_batches =
        val_loader.defined() ? limited(options.limit_val_batches, val_loader.size(), "limit_val_batches") : 0;
    validation.set_data(val_loader, val_batches, is_same_on_every_rank(val_batches));
    if (val_loader.defined() && val_loader.size() == 0 && !options.limit_val_batches.is_zero()) {
      warn("fit: the validation data make no batch (" + parts_of(val_loader) + "): there is no validation");
    }

    placement.strategy->barrier();
    if (options.num_sanity_val_steps != 0 && validation.max_batches() > 0 &&
        !fit_loop.resumes_within_epoch()) {
      // A few batches of validation, so that its mistakes show before hours of training; it must leave no
      // trace.
      const auto generators = generator_states(placement.device);
      stage = Stage::kSanityCheck;
      call_callbacks(Hook::kSanityCheckStart, &Callback::on_sanity_check_start);
      (void)validation.evaluate(Stage::kSanityCheck, options.num_sanity_val_steps);
      call_callbacks(Hook::kSanityCheckEnd, &Callback::on_sanity_check_end);
      metrics.clear();
      set_generator_states(generators, placement.device);
      stage = Stage::kFit;
    }
    if (saved) metrics.load_state(saved->loop.value("metrics", nlohmann::json::object()));
    const auto train_loader = distributed(
        train.defined() ? train : call_module(Hook::kTrainDataloader, &LightningModule::train_dataloader),
        Stage::kTrain);
    if (!train_loader.defined())
      throw std::invalid_argument("fit: no training data: pass a DataLoader or override train_dataloader()");
    fit_loop.set_data(train_loader);
    if (train_loader.size() == 0 && !options.limit_train_batches.is_zero()) {
      warn("fit() stopped: no training batches (" + parts_of(train_loader) +
           "): a smaller batch_size, or a loader that keeps the last batch, gives some");
    }
    fit_loop.run();
    stage = Stage::kFit;
    end();
  });
}

Metrics Trainer::Impl::evaluate(Stage now, LightningModule& given, const DataLoader& data,
                                const CheckpointPath& weights) {
  if (running)
    throw std::logic_error(
        "Trainer: validate(), test() or predict() was called from within a run; a Trainer runs one at a "
        "time");
  Metrics result;
  guarded([&] {
    begin(now, given);
    if (!weights.path().empty())
      restore_module_and_callbacks(read_checkpoint(weights.path(), placement.global_rank));
    metrics.clear();
    given.to(placement.device);
    placement.strategy->setup(given, /*fitting=*/false);
    const auto& [hook, own, limit, name] =
        now == Stage::kTest      ? std::tuple(Hook::kTestDataloader, &LightningModule::test_dataloader,
                                              options.limit_test_batches, "limit_test_batches")
        : now == Stage::kPredict ? std::tuple(Hook::kPredictDataloader, &LightningModule::predict_dataloader,
                                              options.limit_predict_batches, "limit_predict_batches")
                                 : std::tuple(Hook::kValDataloader, &LightningModule::val_dataloader,
                                              options.limit_val_batches, "limit_val_batches");
    const auto loader = distributed(data.defined() ? data : call_module(hook, own), now);
    if (!loader.defined())
      throw std::invalid_argument("no data to evaluate: pass a DataLoader or override the module's own");
    const auto batches = limited(limit, loader.size(), name);
    if (loader.size() == 0 && !limit.is_zero())
      warn("the data to evaluate make no batch (" + parts_of(loader) + "): there is nothing to compute");
    evaluation.set_data(loader, batches, is_same_on_every_rank(batches));
    placement.strategy->barrier();
    for (const auto& [metric, value] : evaluation.evaluate(now)) result.emplace(metric, value.item());
    end();
  });
  return result;
}

// ---- the public face ----------------------------------------------------------------------------

Trainer::Trainer(TrainerOptions options) : impl_(std::make_unique<Impl>(*this, std::move(options))) {}
Trainer::~Trainer() = default;

void AnyModule::hold(std::shared_ptr<LightningModule> module) {
  if (module == nullptr) throw std::invalid_argument("Trainer: the module is a null pointer");
  owned_ = std::move(module);
  module_ = owned_.get();
}

void Trainer::fit(const AnyModule& module, const DataLoader& train, const DataLoader& val,
                  const CheckpointPath& resume_from) {
  impl_->keep(module);
  impl_->fit(module.get(), train, val, resume_from);
}
Metrics Trainer::validate(const AnyModule& module, const DataLoader& loader, const CheckpointPath& weights) {
  impl_->keep(module);
  return impl_->evaluate(Stage::kValidate, module.get(), loader, weights);
}
Metrics Trainer::test(const AnyModule& module, const DataLoader& loader, const CheckpointPath& weights) {
  impl_->keep(module);
  return impl_->evaluate(Stage::kTest, module.get(), loader, weights);
}
std::vector<torch::Tensor> Trainer::predict(const AnyModule& module, const DataLoader& loader,
                                            const CheckpointPath& weights) {
  impl_->keep(module);
  (void)impl_->evaluate(Stage::kPredict, module.get(), loader, weights);
  return impl_->evaluation.take_predictions();
}

namespace {
Metrics items(const MetricValues& values) {
  Metrics result;
  for (const auto& [name, value] : values) result.emplace(name, value.item());
  return result;
}
}  // namespace

Metrics Trainer::callback_metrics() const {
  return impl_->metrics.refresh(), items(impl_->metrics.views().callback);
}
Metrics Trainer::logged_metrics() const {
  return impl_->metrics.refresh(), items(impl_->metrics.views().logged);
}
Metrics Trainer::progress_bar_metrics() const {
  return impl_->metrics.refresh(), items(impl_->metrics.views().progress_bar);
}
std::int64_t Trainer::current_epoch() const { return impl_->fit_loop.current_epoch(); }
std::int64_t Trainer::global_step() const { return impl_->fit_loop.global_step(); }
std::int64_t Trainer::num_training_batches() const { return impl_->fit_loop.max_batches(); }
std::int64_t Trainer::num_val_batches() const { return impl_->validation.max_batches(); }
std::int64_t Trainer::num_evaluation_batches() const {
  return impl_->function == Stage::kFit ? impl_->validation.batches() : impl_->evaluation.batches();
}
bool Trainer::should_stop() const { return impl_->should_stop; }
void Trainer::set_should_stop(bool stop) { impl_->should_stop = stop; }
Stage Trainer::stage() const { return impl_->stage; }
bool Trainer::fitting() const { return impl_->running && impl_->function == Stage::kFit; }
bool Trainer::is_last_batch() const { return impl_->fit_loop.is_last_batch(); }
bool Trainer::validation_has_run() const { return impl_->validation.has_run(); }
std::int64_t Trainer::max_epochs() const { return impl_->max_epochs; }
std::filesystem::path Trainer::resumed_from() const { return impl_->resumed_from; }
int Trainer::global_rank() const { return impl_->placement.global_rank; }
int Trainer::local_rank() const { return impl_->placement.local_rank; }
int Trainer::world_size() const { return impl_->placement.world_size; }
torch::Device Trainer::device() const { return impl_->placement.device; }
Strategy& Trainer::strategy() const { return *impl_->placement.strategy; }
const std::vector<std::shared_ptr<Callback>>& Trainer::callbacks() const { return impl_->callbacks; }
const TrainerOptions& Trainer::options() const { return impl_->options; }

std::filesystem::path Trainer::default_root_dir() const {
  if (!impl_->options.default_root_dir.empty()) return impl_->options.default_root_dir;
  const auto run_dir = get_context().get_trial_dir();
  return run_dir.empty() ? std::filesystem::current_path() : run_dir;
}

}  // namespace rtrain
