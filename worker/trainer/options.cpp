// What the options mean here, and everything that is wrong with them at once.
#include "worker/trainer/options.h"

#include "worker/trainer/trainer_impl.h"

#include <rtrain/callbacks.h>
#include <rtrain/names.h>

#include "worker/callbacks/progress_report.h"
#include "worker/runtime/json.h"
#include "worker/runtime/problems.h"
#include "worker/sdk/job.h"
#include "worker/trainer/numerics.h"
#include "worker/trainer/precision_choice.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <typeinfo>

namespace rtrain {
namespace {

void check_count(Problems& problems, const std::string& name, std::int64_t value, std::int64_t lowest,
                 const std::string& meaning) {
  if (value < lowest) problems.add(name + " is " + std::to_string(value) + ", expected " + meaning);
}

void check_limit(Problems& problems, const std::string& name, const BatchCount& limit) {
  const bool fits =
      limit.is_fraction() ? limit.fraction() >= 0 && limit.fraction() <= 1 : limit.batches() >= 0;
  problems.expect(fits, name + " is " + limit.text() +
                            ", expected a number of batches (0 or more) or a fraction (0.0 to 1.0)");
}

std::shared_ptr<Strategy> choose_strategy(Problems& problems, const AnyStrategy& choice, int world_size) {
  if (choice.get()) return choice.get();
  const std::string name = choice.name() != "auto" ? choice.name() : world_size > 1 ? "ddp" : "single_device";
  if (auto made = Names<Strategy>::make(name)) return made;
  std::string known = "\"auto\"";
  for (const auto& other : Names<Strategy>::all()) known += ", \"" + other + "\"";
  problems.add("strategy is \"" + choice.name() + "\", expected " + known +
               " or a strategy such as rtrain::DDPStrategy()");
  return std::make_shared<SingleDeviceStrategy>();
}

torch::Device choose_device(Problems& problems, const std::string& accelerator) {
  const bool wants_gpu = accelerator == "gpu" || accelerator == "cuda";
  if (accelerator == "cpu") return torch::kCPU;
  if (accelerator != "auto" && !wants_gpu) {
    problems.add("accelerator is \"" + accelerator + "\", expected \"auto\", \"cpu\" or \"gpu\"");
    return torch::kCPU;
  }
  const auto device = get_device();
  if (wants_gpu && !device.is_cuda()) {
    problems.add("accelerator is \"" + accelerator +
                 "\", but this worker holds no GPU (scaling_config.use_gpu gives it one)");
  }
  return device;
}

/// One would come back with the other's state.
void refuse_shared_state(const std::vector<std::shared_ptr<Callback>>& callbacks) {
  std::map<std::string, std::shared_ptr<Callback>> by_key;
  for (const auto& callback : callbacks) {
    const auto key = callback->state_key();
    const auto [other, is_new] = by_key.emplace(key, callback);
    if (is_new || (callback->state_dict().is_null() && other->second->state_dict().is_null())) continue;
    throw std::invalid_argument("Trainer: two callbacks keep their state under the key " + key +
                                ", so that a checkpoint could not tell them apart: give one of them " +
                                "another monitor, mode or interval, or a name of its own (ModelCheckpoint "
                                "and EarlyStopping have the option `name`; a class of " +
                                "your own overrides state_key())");
  }
}

std::vector<std::shared_ptr<Callback>> in_order(std::vector<std::shared_ptr<Callback>> all) {
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a->order() < b->order(); });
  refuse_shared_state(all);
  return all;
}

/// "": it can be used. What Python's Lightning has and C++ cannot have comes with what does the same here.
std::string problem_of_profiler(const AnyProfiler& choice) {
  const auto& name = choice.name();
  if (choice.get() != nullptr || name.empty()) return {};
  const auto names = Names<Profiler>::all();
  if (std::find(names.begin(), names.end(), name) != names.end()) return {};
  if (name == "advanced")
    return "profiler is \"advanced\", which profiles Python, and there is none: \"simple\" measures the "
           "hooks, "
           "\"pytorch\" the operators, and perf or gprof what C++ does between them";
  if (name == "xla")
    return "profiler is \"xla\", which profiles TPUs, and rtrain runs on CPUs and GPUs: use \"pytorch\"";
  std::string known;
  for (const auto& other : names) known += (known.empty() ? "\"" : ", \"") + other + "\"";
  return "profiler is \"" + name + "\", expected " + known +
         " or a profiler such as rtrain::SimpleProfiler()";
}

/// Nothing but training: what would cost time beside it contradicts it.
void check_barebones(Problems& problems, const TrainerOptions& o) {
  if (!o.barebones) return;
  const auto refuse = [&](bool given, const std::string& what, const std::string& why) {
    if (given) problems.add("barebones is true, and " + what + ": " + why);
  };
  refuse(o.enable_progress_bar == true, "enable_progress_bar is true", "progress costs time");
  refuse(o.enable_checkpointing == true, "enable_checkpointing is true", "checkpoints cost time");
  refuse(o.enable_model_summary == true, "enable_model_summary is true", "the summary costs time");
  refuse(!o.loggers.empty(), "loggers holds one", "logging costs time");
  refuse(o.detect_anomaly, "detect_anomaly is true", "looking for NaN costs time");
  refuse(o.fast_dev_run > 0, "fast_dev_run is " + std::to_string(o.fast_dev_run),
         "a trial run measures nothing");
  const TrainerOptions defaults;
  refuse(o.num_sanity_val_steps != defaults.num_sanity_val_steps && o.num_sanity_val_steps != 0,
         "num_sanity_val_steps is " + std::to_string(o.num_sanity_val_steps), "the sanity check costs time");
  refuse(o.log_every_n_steps != defaults.log_every_n_steps && o.log_every_n_steps != 0,
         "log_every_n_steps is " + std::to_string(o.log_every_n_steps), "logging costs time");
}

}  // namespace

std::shared_ptr<Profiler> choose_profiler(const AnyProfiler& choice) {
  return choice.get() || choice.name().empty() ? choice.get() : Names<Profiler>::make(choice.name());
}

TrainerOptions settled(TrainerOptions o) {
  const bool overfits = !o.overfit_batches.is_zero();
  if (overfits) o.limit_train_batches = o.limit_val_batches = o.overfit_batches;
  if (o.fast_dev_run > 0) {
    if (!overfits) o.limit_train_batches = o.limit_val_batches = o.fast_dev_run;
    o.limit_test_batches = o.limit_predict_batches = o.fast_dev_run;
    o.max_steps = o.fast_dev_run;
    o.max_epochs = 1;
    o.num_sanity_val_steps = 0;
    o.val_check_interval = 1.0;
    o.check_val_every_n_epoch = 1;
    o.loggers.clear();
  }
  if (o.barebones) o.num_sanity_val_steps = o.log_every_n_steps = 0;
  return o;
}

Placement check_options(const TrainerOptions& o) {
  Problems problems;
  if (o.max_epochs) check_count(problems, "max_epochs", *o.max_epochs, -1, "0 or more, or -1 for no limit");
  if (o.min_epochs) check_count(problems, "min_epochs", *o.min_epochs, 0, "0 or more");
  check_count(problems, "max_steps", o.max_steps, -1, "0 or more, or -1 for no limit");
  if (o.min_steps) check_count(problems, "min_steps", *o.min_steps, 0, "0 or more");
  check_limit(problems, "limit_train_batches", o.limit_train_batches);
  check_limit(problems, "limit_val_batches", o.limit_val_batches);
  check_limit(problems, "limit_test_batches", o.limit_test_batches);
  check_limit(problems, "limit_predict_batches", o.limit_predict_batches);
  check_limit(problems, "overfit_batches", o.overfit_batches);
  check_count(problems, "fast_dev_run", o.fast_dev_run, 0, "a number of batches, or 0 for none");
  check_barebones(problems, o);
  const auto& interval = o.val_check_interval;
  problems.expect(
      interval.is_fraction() ? interval.fraction() > 0 && interval.fraction() <= 1 : interval.batches() >= 1,
      "val_check_interval is " + interval.text() +
          ", expected a number of batches (1 or more) or a fraction (above 0.0, up to 1.0)");
  if (o.check_val_every_n_epoch) {
    check_count(problems, "check_val_every_n_epoch", *o.check_val_every_n_epoch, 1,
                "1 or more, or std::nullopt to count batches over all epochs");
  } else {
    problems.expect(!interval.is_fraction(),
                    "check_val_every_n_epoch is std::nullopt, so val_check_interval must be a number of "
                    "batches (it is the fraction " +
                        interval.text() + ")");
  }
  check_count(problems, "num_sanity_val_steps", o.num_sanity_val_steps, -1,
              "0 or more, or -1 for all batches");
  check_count(problems, "log_every_n_steps", o.log_every_n_steps, 0, "0 or more");
  check_count(problems, "reload_dataloaders_every_n_epochs", o.reload_dataloaders_every_n_epochs, 0,
              "0 or more");
  check_count(problems, "max_shard_size", o.max_shard_size, 1, "a number of bytes, 1 or more");
  check_count(problems, "accumulate_grad_batches", o.accumulate_grad_batches, 1, "1 or more");
  problems.expect(o.elastic_batch == "per_worker" || o.elastic_batch == "keep",
                  "elastic_batch is \"" + o.elastic_batch + "\", expected \"per_worker\" or \"keep\"");
  if (o.gradient_clip_val) {
    problems.expect(std::isfinite(*o.gradient_clip_val) && *o.gradient_clip_val >= 0,
                    "gradient_clip_val is " + runtime::dump_json(*o.gradient_clip_val) +
                        ", expected a finite number, 0 or more");
  }
  problems.expect(
      o.gradient_clip_algorithm == "norm" || o.gradient_clip_algorithm == "value",
      "gradient_clip_algorithm is \"" + o.gradient_clip_algorithm + "\", expected \"norm\" or \"value\"");
  for (const auto& callback : o.callbacks)
    problems.expect(callback.get() != nullptr, "callbacks holds a null pointer");
  for (const auto& logger : o.loggers)
    problems.expect(logger.get() != nullptr, "loggers holds a null pointer");
  if (const auto problem = problem_of_profiler(o.profiler); !problem.empty()) problems.add(problem);

  Placement at;
  for (const auto& plugin : o.plugins) {
    if (plugin.get() == nullptr) {
      problems.add("plugins holds a null pointer");
      continue;
    }
    auto environment = std::dynamic_pointer_cast<ClusterEnvironment>(plugin.get());
    if (auto precision = std::dynamic_pointer_cast<Precision>(plugin.get())) {
      problems.expect(!o.precision.is_set(), "precision is set, and plugins holds the precision \"" +
                                                 precision->name() + "\": give one of them");
      problems.expect(!at.precision, "plugins holds more than one Precision");
      at.precision = std::move(precision);
    } else if (auto io = std::dynamic_pointer_cast<CheckpointIO>(plugin.get())) {
      problems.expect(!at.checkpoint_io, "plugins holds more than one CheckpointIO");
      at.checkpoint_io = std::move(io);
    } else if (!environment) {
      problems.add("plugins holds \"" + plugin.get()->name() +
                   "\", which the Trainer does not support; expected a rtrain::ClusterEnvironment, a "
                   "rtrain::Precision or a rtrain::CheckpointIO");
    } else if (at.environment) {
      problems.add("plugins holds more than one ClusterEnvironment");
    } else {
      at.environment = std::move(environment);
    }
  }
  if (!at.checkpoint_io) at.checkpoint_io = std::make_shared<LocalCheckpointIO>();
  const auto environment = at.environment ? at.environment : std::make_shared<ClusterEnvironment>();
  at.world_size = environment->world_size();
  at.global_rank = environment->global_rank();
  at.local_rank = environment->local_rank();
  at.strategy = choose_strategy(problems, o.strategy, at.world_size);
  at.strategy_was_auto = o.strategy.get() == nullptr && o.strategy.name() == "auto";
  at.device = choose_device(problems, o.accelerator);
  const auto add = [&](std::string problem) { problems.add(std::move(problem)); };
  if (!at.precision) at.precision = choose_precision(o.precision, at.device, add);
  check_numerics(o, add);
  const auto on_node = get_context().get_local_world_size();
  if (o.devices.count()) {
    problems.expect(
        *o.devices.count() == on_node,
        "devices is " + o.devices.text() + ", but the job has " + std::to_string(on_node) +
            " worker(s) on this node: their number is scaling_config.num_workers; write \"auto\"");
  } else {
    problems.expect(o.devices.text() == "auto",
                    "devices is \"" + o.devices.text() + "\", expected \"auto\" or a number");
  }

  problems.throw_if_any_option("Trainer");
  return at;
}

std::vector<std::shared_ptr<Callback>> arrange_callbacks(const TrainerOptions& options) {
  std::vector<std::shared_ptr<Callback>> all;
  const bool bare = options.barebones;
  const bool shows = !bare && options.enable_progress_bar.value_or(true);
  if (shows) all.push_back(std::make_shared<ProgressReport>());
  for (const auto& callback : options.callbacks) all.push_back(callback.get());
  const auto has = [&](CallbackRole role) {
    return std::ranges::any_of(all, [&](const auto& callback) { return callback->role() == role; });
  };
  const bool writes = has(CallbackRole::kCheckpoint), summarizes = has(CallbackRole::kModelSummary);
  const bool draws = has(CallbackRole::kProgressBar);
  if (draws && options.enable_progress_bar == false)
    throw std::invalid_argument(
        "Trainer: enable_progress_bar is false, but the callbacks hold a ProgressBar: remove one of them");
  // Clients that follow a job draw its progress.
  if (shows && !draws && !sdk::Job::current().active()) all.push_back(std::make_shared<ProgressBar>());
  if (writes && options.enable_checkpointing == false) {
    throw std::invalid_argument(
        "Trainer: enable_checkpointing is false, but the callbacks hold a ModelCheckpoint: remove one of "
        "them");
  }
  if (options.enable_model_summary == false && summarizes)
    throw std::invalid_argument(
        "Trainer: enable_model_summary is false, but the callbacks hold a ModelSummary: remove one of them");
  if (options.max_time && !has(CallbackRole::kTimeLimit))
    all.push_back(std::make_shared<Timer>(*options.max_time));
  if (options.enable_model_summary == true && !summarizes) all.push_back(std::make_shared<ModelSummary>());
  if (!writes && options.enable_checkpointing.value_or(!has(CallbackRole::kReport) && !bare))
    all.push_back(std::make_shared<ModelCheckpoint>());
  return in_order(std::move(all));
}

std::vector<std::shared_ptr<Callback>> with_callbacks_of_module(
    std::vector<std::shared_ptr<Callback>> of_trainer,
    const std::vector<std::shared_ptr<Callback>>& of_module) {
  for (const auto& own : of_module) {
    if (own == nullptr)
      throw std::invalid_argument("configure_callbacks: what it returns holds a null pointer");
    std::erase_if(of_trainer, [&](const auto& other) {
      const auto &a = *own, &b = *other;
      return typeid(a) == typeid(b);
    });
  }
  of_trainer.insert(of_trainer.end(), of_module.begin(), of_module.end());
  return in_order(std::move(of_trainer));
}

Trainer& prepare_trainer(Trainer& trainer) {
  Problems problems;
  const auto& at = trainer.impl_->run.placement;
  // "auto" is DDP wherever there are several ranks.
  const int ranks = std::max(at.world_size, 2);
  if (!at.strategy_was_auto && at.strategy->degrees(ranks).product() == 1) {
    problems.add("strategy is " + at.strategy->name() +
                 ", expected one that trains with the job's ranks: \"auto\" or rtrain::DDPStrategy()");
  }
  const ClusterEnvironment* environment = at.environment.get();
  if (environment != nullptr && typeid(*environment) != typeid(ClusterEnvironment)) {
    problems.add("plugins holds the cluster environment \"" + at.environment->name() +
                 "\", expected rtrain::ClusterEnvironment()");
  }
  problems.throw_if_any("prepare_trainer: this Trainer cannot run in a job");
  return trainer;
}

}  // namespace rtrain
