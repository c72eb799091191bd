#include "worker/trainer/options_table.h"

#include "proto/jobspec/jobspec.h"
#include "worker/runtime/json.h"

#include <rtrain/config.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

namespace rtrain {
namespace {

/// What stands before a path in the errors of Config.
constexpr const char* kConfigRoot = "train_loop_config.";

[[noreturn]] void expect_option(const std::string& path, const nlohmann::json& found, const char* expected) {
  throw std::invalid_argument(path + ": expected " + expected + ", found " + runtime::dump_json(found));
}

template <class T>
T option_from(const std::string& path, const nlohmann::json& value) {
  if constexpr (detail::kIsOptional<T>) {
    if (value.is_null()) return std::nullopt;
    return option_from<typename T::value_type>(path, value);
  } else if constexpr (std::same_as<T, BatchCount>) {
    if (value.is_number_integer()) return value.get<std::int64_t>();
    if (!value.is_number()) expect_option(path, value, "a number of batches, or a fraction such as 0.5");
    return value.get<double>();
  } else if constexpr (std::same_as<T, Duration>) {
    if (!value.is_string()) expect_option(path, value, "a length of time such as \"90m\"");
    return Duration(value.get<std::string>());
  } else if constexpr (std::same_as<T, Deterministic>) {
    if (value.is_boolean()) return value.get<bool>();
    if (value != "warn") expect_option(path, value, "true, false or \"warn\"");
    return "warn";
  } else if constexpr (std::same_as<T, Devices>) {
    if (value.is_number_integer()) return static_cast<int>(value.get<std::int64_t>());
    if (value != "auto") expect_option(path, value, "\"auto\" or a number");
    return "auto";
  } else if constexpr (std::same_as<T, AnyPrecision>) {
    if (value.is_null()) return {};
    if (value.is_number_integer()) return std::to_string(value.get<std::int64_t>());
    if (!value.is_string()) expect_option(path, value, "a name such as \"bf16-mixed\"");
    return value.get<std::string>();
  } else if constexpr (std::same_as<T, AnyStrategy>) {
    if (value.is_string()) return value.get<std::string>();
    return Names<Strategy>::from_json(value);
  } else if constexpr (std::same_as<T, AnyProfiler>) {
    if (value.is_null()) return {};
    if (value.is_string()) return value.get<std::string>();
    return AnyProfiler(value);
  } else if constexpr (std::same_as<T, std::filesystem::path>) {
    return detail::read_config_value<std::string>(path, value);
  } else if constexpr (std::same_as<T, std::vector<AnyCallback>>) {
    return callbacks_from(value);
  } else if constexpr (std::same_as<T, std::vector<AnyLogger>>) {
    return loggers_from(value);
  } else if constexpr (std::same_as<T, std::vector<AnyPlugin>>) {
    expect_option(path, value, "no plugins: they are objects of the program; a precision has a name");
  } else {
    return detail::read_config_value<T>(path, value);
  }
}

template <auto Member>
void read_option(TrainerOptions& options, const std::string& path, const nlohmann::json& value) {
  auto& field = options.*Member;
  field = option_from<std::remove_cvref_t<decltype(field)>>(path, value);
}

/// Lightning's that are not here.
const std::map<std::string, std::string>& options_of_lightning() {
  static const std::map<std::string, std::string> all{
      {"logger", "it is called loggers, a list"},
      {"num_nodes", "the job says how many nodes there are (scaling_config)"},
      {"model_registry", "there is no registry: checkpoints are folders in storage_path"},
  };
  return all;
}

}  // namespace

const std::vector<OptionField>& option_fields() {
#define RTRAIN_FIELD(name) \
  { #name, &read_option<&TrainerOptions::name> }
  static const std::vector<OptionField> fields{
      RTRAIN_FIELD(max_epochs),
      RTRAIN_FIELD(min_epochs),
      RTRAIN_FIELD(max_steps),
      RTRAIN_FIELD(min_steps),
      RTRAIN_FIELD(max_time),
      RTRAIN_FIELD(limit_train_batches),
      RTRAIN_FIELD(limit_val_batches),
      RTRAIN_FIELD(limit_test_batches),
      RTRAIN_FIELD(limit_predict_batches),
      RTRAIN_FIELD(overfit_batches),
      RTRAIN_FIELD(fast_dev_run),
      RTRAIN_FIELD(val_check_interval),
      RTRAIN_FIELD(check_val_every_n_epoch),
      RTRAIN_FIELD(num_sanity_val_steps),
      RTRAIN_FIELD(log_every_n_steps),
      RTRAIN_FIELD(accumulate_grad_batches),
      RTRAIN_FIELD(elastic_batch),
      RTRAIN_FIELD(gradient_clip_val),
      RTRAIN_FIELD(gradient_clip_algorithm),
      RTRAIN_FIELD(precision),
      RTRAIN_FIELD(matmul_precision),
      RTRAIN_FIELD(deterministic),
      RTRAIN_FIELD(benchmark),
      RTRAIN_FIELD(detect_anomaly),
      RTRAIN_FIELD(sync_batchnorm),
      RTRAIN_FIELD(cuda_graph),
      RTRAIN_FIELD(channels_last),
      RTRAIN_FIELD(accelerator),
      RTRAIN_FIELD(devices),
      RTRAIN_FIELD(strategy),
      RTRAIN_FIELD(plugins),
      RTRAIN_FIELD(callbacks),
      RTRAIN_FIELD(loggers),
      RTRAIN_FIELD(enable_checkpointing),
      RTRAIN_FIELD(enable_progress_bar),
      RTRAIN_FIELD(enable_model_summary),
      RTRAIN_FIELD(barebones),
      RTRAIN_FIELD(use_distributed_sampler),
      RTRAIN_FIELD(reload_dataloaders_every_n_epochs),
      RTRAIN_FIELD(inference_mode),
      RTRAIN_FIELD(max_shard_size),
      RTRAIN_FIELD(default_root_dir),
      RTRAIN_FIELD(seed),
      RTRAIN_FIELD(profiler),
      RTRAIN_FIELD(enable_autolog_hparams),
  };
#undef RTRAIN_FIELD
  return fields;
}

TrainerOptions TrainerOptions::from_json(const nlohmann::json& options) {
  TrainerOptions made;
  if (options.is_null()) return made;
  std::string problems;
  const auto add = [&](std::string text) {
    if (text.starts_with(kConfigRoot)) text.erase(0, std::string(kConfigRoot).size());
    for (auto at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 3))
      text.insert(at + 1, "  ");
    problems += "\n  " + text;
  };
  if (!options.is_object())
    throw std::invalid_argument("TrainerOptions: expected an object of options, found " +
                                std::string(options.type_name()));
  const auto& fields = option_fields();
  std::vector<std::string> names;
  for (const auto& field : fields) names.emplace_back(field.name);
  for (const auto& item : options.items()) {
    const auto field =
        std::find_if(fields.begin(), fields.end(), [&](const auto& f) { return f.name == item.key(); });
    if (field != fields.end()) {
      try {
        field->read(made, item.key(), item.value());
      } catch (const std::exception& error) {
        add(error.what());
      }
      continue;
    }
    const auto elsewhere = options_of_lightning().find(item.key());
    const auto near = proto::nearest(item.key(), names);
    add(item.key() + ": there is no such option; " +
        (elsewhere != options_of_lightning().end() ? elsewhere->second
         : near.empty()                            ? "docs/guides/from-ray-train.md lists them"
                                                   : "the nearest is " + near));
  }
  if (!problems.empty())
    throw std::invalid_argument("TrainerOptions: these options cannot be used:" + problems);
  return made;
}

}  // namespace rtrain
