// One run of a Trainer, from the first hook to the last.
#include "proto/tensors/shard_index.h"
#include "proto/tensors/trainer_folder.h"
#include "worker/parallel/pipeline_state.h"
#include "worker/parallel/require_groups.h"
#include "worker/run/generator_states.h"
#include "worker/run/seed.h"
#include "worker/runtime/failure_place.h"
#include "worker/runtime/json.h"
#include "worker/schedulers/configuration.h"
#include "worker/sdk/job.h"
#include "worker/step/graph_conditions.h"
#include "worker/trainer/evaluation_table.h"
#include "worker/trainer/live_profile.h"
#include "worker/trainer/memory_format.h"
#include "worker/trainer/numerics.h"
#include "worker/trainer/options.h"
#include "worker/trainer/trainer_impl.h"

#include <rtrain/callbacks/model_checkpoint.h>
#include <rtrain/callbacks/on_exception_checkpoint.h>
#include <rtrain/callbacks/timer.h>

#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/anomaly_mode.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <optional>
#include <stdexcept>

namespace rtrain {

Trainer::Impl::Impl(Trainer& trainer, TrainerOptions given)
    : run(trainer, settled(given), check_options(given), arrange_callbacks(given)),
      own_callbacks(run.callbacks),
      validation(run),
      evaluation(run),
      fit_loop(run, validation) {
  attachment->trainer = &trainer;
  set_numerics(run.options);
  profiler = choose_profiler(run.options.profiler);
  run.live_profiling = live_profile_of_job(run);
  const auto seed = run.options.seed;
  if (!seed) return;
  if (drawn_without_seed()) {
    warn(
        "Trainer: seed is set now, but random numbers were drawn before: values drawn from them, such as the "
        "model's parameters, differ in each run; call "
        "rtrain::seed_everything(" +
        std::to_string(*seed) + ") before the model is built");
  }
  seed_everything(*seed);
}

Trainer::Impl::~Impl() { attachment->trainer = nullptr; }

std::int64_t Trainer::Impl::batches_a_step() const {
  if (run.options.elastic_batch != "keep") return run.options.accumulate_grad_batches;
  const auto most = std::max(get_context().get_max_world_size(), run.placement.world_size);
  const double wanted =
      static_cast<double>(run.options.accumulate_grad_batches * most) / run.placement.world_size;
  const auto batches = std::max<std::int64_t>(1, std::llround(wanted));
  if (static_cast<double>(batches) != wanted)
    warn("elastic_batch \"keep\": " + std::to_string(run.placement.world_size) +
         " ranks cannot make up the batch of " + std::to_string(most) + " exactly; a step takes " +
         std::to_string(batches * run.placement.world_size) + " batches of all ranks instead of " +
         std::to_string(run.options.accumulate_grad_batches * most));
  return batches;
}

/// A strategy talks to the ranks that the process has joined by now.
void Trainer::Impl::connect() {
  auto& strategy = run.strategy();
  const auto& at = run.placement;
  const auto degrees = strategy.degrees(at.world_size);
  const auto* group = sdk::Job::current().group();
  if (degrees.product() == 1)
    strategy.connect({}, at.device);
  else if (group == nullptr || group->communicator()->world_size() != at.world_size)
    throw std::runtime_error(strategy.name() + ": this is one of " + std::to_string(at.world_size) +
                             " ranks, but the process group was not set up");
  else
    strategy.connect(Mesh(group->communicator(), degrees), at.device);
  connected = true;
}

template <class... P, class... A>
void Trainer::Impl::call_data(Hook where, void (LightningDataModule::*hook)(P...), A&&... arguments) {
  if (run.data == nullptr) return;
  const RunContext::HookScope scope(run, where);
  const RunContext::Timed timed(run, [&] { return run.action_of_data(where); });
  ((*run.data).*hook)(std::forward<A>(arguments)...);
}

void Trainer::Impl::begin(Stage now, LightningModule& given, const Data& data) {
  if (run.running) throw std::logic_error("Trainer: a run is already going on; a Trainer runs one at a time");
  run.running = true;
  run.function = run.stage = now;
  run.module = &given;
  Attachment::tie(attachment, given);
  run.data = data.module != nullptr ? &data.module->get() : nullptr;
  Attachment::tie(attachment, run.data);
  if (profiler) {
    profiler->setup({.function = now,
                     .global_rank = run.placement.global_rank,
                     .local_rank = run.placement.local_rank,
                     .log_dir = run.trainer.log_dir(),
                     .uses_gpu = run.placement.device.is_cuda()});
    run.profiler = profiler.get();
  }
  // Those of the module of the run before stay until here: a checkpoint that is saved after it has their
  // state.
  run.callbacks = own_callbacks;
  if (const auto more = run.call_module(Hook::kConfigureCallbacks, &LightningModule::configure_callbacks);
      !more.empty())
    run.callbacks = with_callbacks_of_module(own_callbacks, more);
  run.attach_callbacks(&given);
  if (!connected) connect();
  // The local rank 0 of each node prepares what all of it will read.
  if (run.data != nullptr &&
      (run.data->prepare_data_per_node ? run.placement.local_rank : run.placement.global_rank) == 0)
    call_data(Hook::kPrepareData, &LightningDataModule::prepare_data);
  if (run.placement.local_rank == 0) run.call_module(Hook::kPrepareData, &LightningModule::prepare_data);
  run.strategy().barrier();
  call_data(Hook::kSetup, &LightningDataModule::setup, now);
  run.call(Hook::kSetup, &Callback::setup, &LightningModule::setup, now);
  run.strategy().barrier();
  {
    const auto types = run.precision().init_scope();
    run.call_module(Hook::kConfigureModel, &LightningModule::configure_model);
  }
  // Before a checkpoint is read: float64 weights must not pass through float32.
  run.precision().convert_module(given);
  if (run.options.channels_last) lay_out_channels_last(given);
}

std::filesystem::path Trainer::Impl::resolved(const CheckpointPath& given) {
  namespace fs = std::filesystem;
  const auto name = given.path().string();
  if (name == "hpc" || name.starts_with("registry:"))
    throw std::invalid_argument("the checkpoint \"" + name +
                                "\": jobs resume from get_checkpoint(); give that, or a path");
  if (!name.empty() && name != "best" && name != "last") return fs::absolute(given.path());
  const auto wanted = name == "best"   ? SavedCheckpoint::kBest
                      : name == "last" ? SavedCheckpoint::kLast
                                       : SavedCheckpoint::kOfFailure;
  std::vector<fs::path> candidates;
  bool is_known = false;
  for (const auto& callback : run.callbacks) {
    if (wanted == SavedCheckpoint::kOfFailure && run.function != Stage::kFit) break;
    if (wanted == SavedCheckpoint::kBest && is_known) break;  // the first one's
    const auto saved = callback->saved(wanted);
    if (!saved) continue;
    candidates.insert(candidates.end(), saved->begin(), saved->end());
    is_known = true;
  }
  if (name == "best" && !is_known)
    throw std::invalid_argument("the checkpoint \"best\": there is no ModelCheckpoint that knows it");
  fs::path newest;
  fs::file_time_type newest_time{};
  for (const auto& path : candidates) {
    if (!io().is_local()) {  // one name each, and the later one is the newer
      if (!path.empty() && io().exists(path)) newest = path;
      continue;
    }
    std::error_code missing;
    const bool is_one = fs::exists(path / tensors::kModelFile, missing);
    const auto time =
        fs::last_write_time(path / (is_one ? tensors::kModelFile : tensors::kIndexFile), missing);
    if (!missing && (newest.empty() || time > newest_time)) newest = path, newest_time = time;
  }
  newest = run.strategy().broadcast(newest.string());
  if (name == "best" && newest.empty())
    throw std::invalid_argument("the checkpoint \"best\": the ModelCheckpoint has saved nothing");
  if (name == "last" && newest.empty())
    warn("the checkpoint \"last\" is not there yet (save_last makes it): nothing is read");
  if (name.empty() && !newest.empty()) warn("fit goes on from " + newest.string() + ", left by a failed one");
  return newest;
}

void Trainer::Impl::make_plan(LightningModule& module, bool fitting) {
  parallel::require_groups_of(run.strategy().name(), run.strategy().mesh(), module);
  // A run before may have had other layers: the module may have replaced some since.
  if (auto* layered = dynamic_cast<parallel::PipelineModule*>(&module))
    parallel::detail::PipelineState::of(*layered).layers.clear();
  run.strategy().model_to_device(module);
  for (const auto& [name, metric] : module.registered_metrics()) metric->to(run.placement.device);
  run.plan = run.strategy().prepare(module, fitting);
}

/// What only automatic optimization does.
void Trainer::Impl::refuse_automatic_options() const {
  std::string problems;
  if (const auto limit = run.options.gradient_clip_val.value_or(0); limit > 0)
    problems += "\n  gradient_clip_val is " + runtime::dump_json(limit) +
                ": call clip_gradients(optimizer, ...) in training_step";
  if (run.accumulate != 1)
    problems += "\n  a step takes " + std::to_string(run.accumulate) +
                " batches (accumulate_grad_batches, or elastic_batch \"keep\"): accumulate in training_step, "
                "with no_sync() for all but the last batch";
  if (!problems.empty())
    throw std::invalid_argument(
        "fit: these options have no effect with automatic_optimization = false; remove them:" + problems);
}

void Trainer::Impl::make_optimizers() {
  auto configured = run.call_module(Hook::kConfigureOptimizers, &LightningModule::configure_optimizers);
  std::string problems;
  for (const auto& problem : schedulers::problems_of(configured, run.automatic, run.accumulate))
    problems += "\n  " + problem;
  if (!problems.empty())
    throw std::invalid_argument("configure_optimizers: what it returns cannot be used:" + problems);
  for (const auto& doubt : schedulers::doubts_about(configured, run.automatic))
    warn("configure_optimizers: " + doubt);
  run.optimizers = std::move(configured.all);
  run.schedulers = std::move(configured.schedulers);
  // Handles of a fit that is over say so: they share the life of the driver's token.
  run.driver = {std::make_shared<char>(), &fit_loop.driver()};
  for (const auto& optimizer : run.optimizers) {
    run.precision().require_supported(*optimizer);
    optimizer->name_parameters(run.module->named_parameters());
    run.plan->adopt(*optimizer);
  }
}

void Trainer::Impl::capture_steps(const std::shared_ptr<Recorder>& recorder) {
  require_capturable(run);
  if (const auto reason = why_steps_stay_eager(run, recorder != nullptr); !reason.empty())
    warn("cuda_graph: steps run eagerly: " + reason);
  else
    fit_loop.capture_steps(recorder);
}

/// A few batches of validation, so that its mistakes show before hours of training; it must leave no trace.
void Trainer::Impl::check_sanity() {
  if (run.options.num_sanity_val_steps == 0 || validation.max_batches() == 0 ||
      fit_loop.resumes_within_epoch())
    return;
  const auto generators = generator_states(run.placement.device);
  run.stage = Stage::kSanityCheck;
  run.call_callbacks(Hook::kSanityCheckStart, &Callback::on_sanity_check_start);
  (void)validation.evaluate(Stage::kSanityCheck, run.options.num_sanity_val_steps);
  run.call_callbacks(Hook::kSanityCheckEnd, &Callback::on_sanity_check_end);
  run.metrics.clear();
  set_generator_states(generators, run.placement.device);
  run.stage = Stage::kFit;
}

void Trainer::Impl::end() {
  run.settle_parameters();
  run.plan->hold_equal_parameters();
  if (run.function == Stage::kFit) plan_of_fit = run.plan->step_state();
  run.plan.reset();
  if (run.placement.device.is_cuda()) {
    // they would stay behind on the GPU
    for (auto& parameter : run.module->parameters()) parameter.mutable_grad().reset();
    run.strategy().teardown(*run.module);
    for (const auto& [name, metric] : run.module->registered_metrics()) metric->to(torch::kCPU);
  }
  if (run.function == Stage::kFit)
    run.call(Hook::kFitEnd, &Callback::on_fit_end, &LightningModule::on_fit_end);
  call_data(Hook::kTeardown, &LightningDataModule::teardown, run.function);
  run.call(Hook::kTeardown, &Callback::teardown, &LightningModule::teardown, run.function);
  if (profiler) profiler->describe();
}

void Trainer::Impl::log_hyperparams() {
  if (run.loggers.empty() || !run.options.enable_autolog_hparams) return;
  auto hparams = run.module->hparams();
  if (run.data != nullptr) {
    for (const auto& item : run.data->hparams().items()) {
      const auto [at, is_new] = hparams.emplace(item.key(), item.value());
      if (!is_new && *at != item.value())
        throw std::invalid_argument("the hyperparameter \"" + item.key() + "\" is " +
                                    runtime::dump_json(*at) + " in the module and " +
                                    runtime::dump_json(item.value()) +
                                    " in the data module: rename one of them");
    }
  }
  // A training function that keeps its settings in train_loop_config need not say them again.
  if (hparams.empty()) hparams = sdk::Job::current().environment().launch.spec.train_loop_config;
  if (!hparams.is_object() || hparams.empty() || hparams == logged_hparams) return;
  for (const auto& logger : run.loggers) {
    logger->log_hyperparams(hparams);
    logger->save();
  }
  logged_hparams = std::move(hparams);
}

void Trainer::Impl::tell(const std::exception_ptr& failure) {
  if (!run.failed_in.empty()) {
    runtime::set_failure_place(failure, run.failed_in);
    // In a job the place is told with the job's error.
    if (!sdk::Job::current().active())
      std::cerr << "rtrain: an exception leaves " << run.failed_in << std::endl;
  }
  if (run.module == nullptr) return;
  const auto report_all = [&](const std::exception& error) {
    const RunContext::HookScope scope(run, Hook::kException);
    const auto call = [](const std::string& who, const auto& hook) {
      try {
        hook();
      } catch (...) {
        warn("on_exception of " + who + " failed itself: " + runtime::failure_text(std::current_exception()));
      }
    };
    for (const auto& callback : run.callbacks)
      call(callback->state_key(), [&] { callback->on_exception(run.trainer, *run.module, error); });
    if (run.data != nullptr) call(run.data->name(), [&] { run.data->on_exception(error); });
  };
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    report_all(error);
  } catch (...) {
    report_all(std::runtime_error(runtime::failure_text(failure)));
  }
}

/// A logger that fails here must not hide what ended the run.
void Trainer::Impl::finalize_loggers(const std::string& status) {
  for (const auto& logger : run.loggers) {
    try {
      logger->finalize(status);
    } catch (const std::exception& error) {
      if (status == "success") throw;
      warn(std::string("a logger could not be finalized: ") + error.what());
    }
  }
}

template <class Body>
void Trainer::Impl::guarded(Body body) {
  struct Quiet {  // leaves the Trainer usable, however the run ends
    RunContext& run;
    Profiler* profiler;
    HostBuffers& buffers;
    ~Quiet() {
      if (profiler != nullptr) profiler->teardown();
      run.profiler = nullptr;
      run.plan.reset();
      run.driver.reset();
      run.settle_parameters();
      buffers.clear();
      run.running = false;
      run.current_hook = Hook::kNone;
      run.metrics.use(nullptr);
      run.attach_callbacks(nullptr);
      run.module = nullptr;
      run.data = nullptr;
      run.dataloader_idx.reset();
      run.stage = run.function;
      run.failed_in.clear();
      run.resumed_generators.clear();
      run.updates_before_validation.clear();
    }
  };
  c10::OptionalDeviceGuard device_guard;
  if (run.placement.device.is_cuda()) device_guard.reset_device(run.placement.device);
  const Quiet quiet{run, profiler.get(), *buffers};
  try {
    try {
      body();
    } catch (const Yielded&) {
      finish_saves();  // what the next attempt may resume from
      wait_for_uploads();
      throw;
    }
    finish_saves();
    finalize_loggers("success");
  } catch (const Yielded&) {
    finalize_loggers("yielded");
    throw;
  } catch (...) {  // whatever can be thrown
    tell(std::current_exception());
    finish_saves_quietly();
    finalize_loggers("failed");
    throw;
  }
}

void Trainer::Impl::fit(const AnyModule& module, const Data& data, const CheckpointPath& resume_from) {
  if (run.running)
    throw std::logic_error("Trainer: fit() was called from within a run; a Trainer runs one at a time");
  keep(module, data);
  auto& given = module.get();
  guarded([&] {
    const auto recorder = run.options.cuda_graph ? make_recorder(run.placement.device) : nullptr;
    const auto stream = recorder ? recorder->stream() : nullptr;
    const struct Graphs {
      FitLoop& loop;
      ~Graphs() { loop.drop_graphs(); }
    } graphs{fit_loop};
    std::optional<torch::autograd::DetectAnomalyGuard> anomalies;
    if (run.options.detect_anomaly) anomalies.emplace();
    run.max_epochs = run.options.max_epochs.value_or(-1);
    const bool timed = std::any_of(own_callbacks.begin(), own_callbacks.end(), [](const auto& callback) {
      return callback->role() == CallbackRole::kTimeLimit;
    });
    if (!run.options.max_epochs && run.options.max_steps == -1 && !timed) {
      warn("max_epochs was not set: training for 1000 epochs; max_epochs = -1 trains without an end");
      run.max_epochs = 1000;
    }
    run.min_epochs = run.options.min_epochs.value_or(run.options.min_steps ? 1 : 0);
    run.should_stop = run.out_of_time = false;
    run.accumulate = batches_a_step();
    run.optimizers.clear();
    run.schedulers.clear();
    plan_of_fit = {};
    fit_loop.start_over();
    validation.set_data(nullptr);
    given_training = data.train;
    made_training.reset();
    resumed_from.clear();
    writer = CheckpointWriter::begin();
    resumed_step = 0;

    run.automatic = given.automatic_optimization();
    if (!run.automatic) refuse_automatic_options();
    begin(Stage::kFit, given, data);
    resumed_from = resolved(resume_from);
    require_storable();
    make_plan(given, /*fitting=*/true);
    std::optional<TrainerCheckpoint> saved;
    if (!resumed_from.empty()) {
      saved = read(resumed_from);
      if (const auto before = CheckpointWriter::of(saved->loop); writer.retries(before))
        writer.fit = before.fit;
      resumed_step = saved->loop.value("global_step", std::int64_t{0});
    }
    if (saved) restore_module_and_callbacks(*saved);
    run.metrics.clear();
    make_optimizers();
    if (run.options.cuda_graph) capture_steps(recorder);
    run.call(Hook::kFitStart, &Callback::on_fit_start, &LightningModule::on_fit_start);
    log_hyperparams();
    for (auto& parameter : given.parameters()) parameter.mutable_grad().reset();
    for (const auto& [name, metric] : given.registered_metrics()) metric->reset();
    if (saved) restore_training(*saved);

    validation.set_data([&] { return evaluation_data(Stage::kValidate, data.evaluation); });

    run.strategy().barrier();
    check_sanity();
    if (saved) run.metrics.load_state(saved->loop.value("metrics", nlohmann::json::object()));
    fit_loop.set_data([this] { return training_data(given_training); });
    fit_loop.run();
    run.stage = Stage::kFit;
    end();
  });
}

EvaluationMetrics Trainer::Impl::evaluate(Stage now, const AnyModule& module, const Data& data,
                                          const CheckpointPath& weights, bool verbose) {
  if (run.running)
    throw std::logic_error(
        "Trainer: validate(), test() or predict() was called from within a run; a Trainer runs one at a "
        "time");
  keep(module, data);
  EvaluationMetrics result;
  guarded([&] {
    begin(now, module.get(), data);
    make_plan(module.get(), /*fitting=*/false);
    if (const auto path = resolved(weights); !path.empty()) restore_module_and_callbacks(read(path));
    run.metrics.clear();
    log_hyperparams();
    evaluation.set_data([&] { return evaluation_data(now, data.evaluation); });
    run.strategy().barrier();
    for (const auto& [metric, value] : evaluation.evaluate(now)) result.emplace(metric, value.item());
    for (const auto& loader : evaluation.by_loader()) {
      auto& own = result.by_loader.emplace_back();
      for (const auto& [metric, value] : loader) own.emplace(metric, result.at(metric));
    }
    end();
  });
  if (result.by_loader.empty()) result.by_loader.emplace_back();
  if (verbose && run.placement.global_rank == 0)
    if (const auto table = evaluation_table(now == Stage::kTest ? "Test" : "Validate", result.by_loader);
        !table.empty())
      std::cout << table << std::endl;
  return result;
}

}  // namespace rtrain
