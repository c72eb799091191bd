#include "worker/sharding/deepspeed_config.h"

#include "worker/runtime/json.h"

#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <string_view>

namespace rtrain::sharding {
namespace {

using nlohmann::json;

/// Sizes and switches of DeepSpeed's own buffers, streams and logs.
const std::set<std::string, std::less<>> kIdle{"steps_per_print",
                                               "wall_clock_breakdown",
                                               "dump_state",
                                               "zero_allow_untested_optimizer",
                                               "zero_force_ds_cpu_optimizer",
                                               "prescale_gradients",
                                               "gradient_predivide_factor",
                                               "sparse_gradients",
                                               "disable_allgather",
                                               "memory_breakdown",
                                               "flops_profiler",
                                               "tensorboard",
                                               "csv_monitor",
                                               "wandb",
                                               "comms_logger",
                                               "train_micro_batch_size_per_gpu"};
const std::set<std::string, std::less<>> kIdleOfZero{"allgather_partitions",
                                                     "allgather_bucket_size",
                                                     "reduce_scatter",
                                                     "reduce_bucket_size",
                                                     "contiguous_gradients",
                                                     "round_robin_gradients",
                                                     "sub_group_size",
                                                     "stage3_max_reuse_distance",
                                                     "stage3_param_persistence_threshold",
                                                     "stage3_model_persistence_threshold",
                                                     "stage3_gather_16bit_weights_on_model_save",
                                                     "ignore_unused_parameters",
                                                     "elastic_checkpoint",
                                                     "load_from_fp32_weights",
                                                     "memory_efficient_linear",
                                                     "use_multi_rank_bucket_allreduce",
                                                     "log_trace_cache_warnings"};

/// What stands somewhere else here.
const std::map<std::string, std::string, std::less<>> kElsewhere{
    {"train_batch_size",
     "it follows from the DataLoader's batch_size, accumulate_grad_batches and the ranks"},
    {"gradient_accumulation_steps", "set TrainerOptions::accumulate_grad_batches"},
    {"gradient_clipping", "set TrainerOptions::gradient_clip_val"},
    {"optimizer", "return it from configure_optimizers()"},
    {"scheduler", "return it from configure_optimizers()"},
    {"fp16", "set TrainerOptions::precision, or mixed_precision of the strategy"},
    {"bf16", "set TrainerOptions::precision, or mixed_precision of the strategy"},
    {"amp", "set TrainerOptions::precision"},
    {"activation_checkpointing", "call rtrain::checkpoint() in the model"}};

class Reader {
 public:
  Reader(DeepSpeedOptions& options, ReadConfig& result) : options_(options), result_(result) {}

  void read(const json& config) {
    if (!config.is_object()) return problem("config", "is no JSON object");
    for (const auto& item : config.items()) {
      const auto& key = item.key();
      if (key == "zero_optimization")
        read_zero(item.value());
      else if (key == "communication_data_type")
        read_type(item.value());
      else if (kIdle.contains(key))
        result_.idle.push_back(key);
      else if (const auto other = kElsewhere.find(key); other != kElsewhere.end())
        problem(key, "does not act here: " + other->second);
      else
        problem(key, "is not known");
    }
  }

 private:
  void problem(const std::string& key, const std::string& what) {
    result_.problems.push_back(key + " " + what);
  }

  template <class T>
  void number(const std::string& key, const json& value, T& to) {
    if (!value.is_number_integer() || value.get<std::int64_t>() < 0)
      return problem(key, "is " + runtime::dump_json(value) + ", expected an integer, 0 or more");
    to = static_cast<T>(value.get<std::int64_t>());
  }

  void read_zero(const json& zero) {
    if (!zero.is_object()) return problem("zero_optimization", "is no JSON object");
    for (const auto& item : zero.items()) {
      const auto key = "zero_optimization." + item.key();
      const auto& value = item.value();
      if (item.key() == "stage")
        number(key, value, options_.stage);
      else if (item.key() == "offload_optimizer")
        read_offload(key, value, options_.offload_optimizer);
      else if (item.key() == "offload_param")
        read_offload(key, value, options_.offload_parameters);
      else if (item.key() == "stage3_max_live_parameters")
        number(key, value, options_.stage3_max_live_parameters);
      else if (item.key() == "stage3_prefetch_bucket_size")
        number(key, value, options_.stage3_prefetch_bucket_size);
      else if (item.key() == "overlap_comm")
        read_flag(key, value, options_.overlap_comm);
      else if (kIdleOfZero.contains(item.key()))
        result_.idle.push_back(key);
      else
        problem(key, "is not known");
    }
  }

  void read_flag(const std::string& key, const json& value, bool& to) {
    if (!value.is_boolean())
      return problem(key, "is " + runtime::dump_json(value) + ", expected true or false");
    to = value.get<bool>();
  }

  void read_offload(const std::string& key, const json& value, bool& to) {
    if (!value.is_object()) return problem(key, "is no JSON object");
    for (const auto& item : value.items()) {
      if (item.key() != "device") {
        result_.idle.push_back(key + "." + item.key());
        continue;
      }
      if (item.value() == "cpu")
        to = true;
      else if (item.value() == "none")
        to = false;
      else
        problem(key + ".device", "is " + runtime::dump_json(item.value()) + ", expected \"none\" or \"cpu\"");
    }
  }

  void read_type(const json& value) {
    static const std::map<std::string, torch::ScalarType> types{
        {"fp16", torch::kHalf}, {"bf16", torch::kBFloat16}, {"fp32", torch::kFloat32}};
    const auto found = value.is_string() ? types.find(value.get<std::string>()) : types.end();
    if (found == types.end())
      return problem("communication_data_type",
                     "is " + runtime::dump_json(value) + ", expected \"fp16\", \"bf16\" or \"fp32\"");
    if (!options_.mixed_precision) options_.mixed_precision.emplace();
    options_.mixed_precision->reduce_dtype = found->second;
  }

  DeepSpeedOptions& options_;
  ReadConfig& result_;
};

}  // namespace

ReadConfig read_deepspeed_config(DeepSpeedOptions& options) {
  ReadConfig result;
  auto config = options.config;
  if (config.is_null()) return result;
  if (config.is_string()) {
    const auto path = config.get<std::string>();
    std::ifstream file(path);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    auto parsed = runtime::parse_json(text);
    if (!file || !parsed) {
      result.problems.push_back(
          "config: " + path +
          (file ? " is not valid JSON: " + parsed.error().message() : " could not be read"));
      return result;
    }
    config = std::move(*parsed);
  }
  Reader(options, result).read(config);
  return result;
}

}  // namespace rtrain::sharding
