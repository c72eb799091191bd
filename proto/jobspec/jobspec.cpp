// Reading and writing of the job spec.
#include "proto/jobspec/jobspec.h"

#include "proto/jobspec/object_reader.h"
#include "proto/jobspec/resources.h"
#include "proto/jobspec/scheduling_reader.h"
#include "proto/jobspec/validation_reader.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <limits>

namespace rtrain::proto {
namespace {

constexpr double kNoMax = std::numeric_limits<double>::max();
constexpr JsonLimits kTextLimits{.depth_max = kUserDepthMax};
constexpr int kWorkersMax = 100'000;
constexpr std::array<std::pair<PlacementStrategy, std::string_view>, 4> kStrategies{
    {{PlacementStrategy::kPack, "PACK"},
     {PlacementStrategy::kSpread, "SPREAD"},
     {PlacementStrategy::kStrictPack, "STRICT_PACK"},
     {PlacementStrategy::kStrictSpread, "STRICT_SPREAD"}}};

bool is_variable(const std::string& name) {
  const auto inner = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  return !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
         std::all_of(name.begin(), name.end(), inner);
}

bool is_reserved(const std::string& name) {
  static const std::vector<std::string> kReserved{
      "RANK",      "LOCAL_RANK",  "WORLD_SIZE",  "LOCAL_WORLD_SIZE",     "GROUP_RANK",
      "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"};
  if (name == "RTRAIN_DEBUG_COLLECTIVES") return false;  // a setting of the user's (worker/comm)
  return name.starts_with("RTRAIN_") ||
         std::find(kReserved.begin(), kReserved.end(), name) != kReserved.end();
}

/// What a job without a name is called: its function or its program, with other characters replaced.
std::string default_name(const JobSpec& spec) {
  std::string name = spec.train_func        ? spec.train_func->name
                     : spec.command.empty() ? ""
                                            : std::filesystem::path(spec.command[0]).filename().string();
  if (name.empty() && spec.train_func) name = std::filesystem::path(spec.train_func->library).stem().string();
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_' && c != '-') c = '-';
  name.resize(std::min<std::size_t>(name.size(), 128));
  return is_name(name) ? name : "job";
}

void read_train_func(ObjectReader& top, JobSpec& spec) {
  auto reader = top.object("train_func");
  if (!reader) return;
  TrainFunc function;
  reader->read("library", function.library);
  reader->read("name", function.name);
  if (function.library.empty() &&
      (!reader->json().contains("library") || reader->json()["library"].is_string()))
    reader->error("library", "missing; name the shared library that holds the training function");
  reader->finish();
  spec.train_func = std::move(function);
}

void read_workers(ObjectReader& reader, ScalingConfig& scaling) {
  const Json* workers = reader.raw("num_workers");
  if (workers == nullptr) return;
  const bool range = workers->is_array();
  const auto known = [&](const Json& value) {
    return value.is_number_integer() && value.get<double>() >= 0 && value.get<double>() <= kWorkersMax;
  };
  if (range && (workers->size() != 2 || !std::ranges::all_of(*workers, known)))
    return reader.error("num_workers",
                        "a range is [min, max], two whole numbers from 1 to " + std::to_string(kWorkersMax));
  if (*(range ? &workers->front() : workers) == 0)
    return reader.error("num_workers",
                        "0 runs in the caller's process, which only TorchTrainer::fit() can do; a submitted "
                        "job needs at least 1");
  if (!range) {
    reader.read("num_workers", scaling.num_workers, 1, kWorkersMax);
    scaling.min_workers = scaling.num_workers;
    return;
  }
  scaling.min_workers = workers->front().get<int>();
  scaling.num_workers = workers->back().get<int>();
  if (scaling.min_workers > scaling.num_workers)
    reader.error("num_workers", "the range [" + std::to_string(scaling.min_workers) + ", " +
                                    std::to_string(scaling.num_workers) +
                                    "] is empty; the minimum stands first");
}

void read_label_selector(ObjectReader& reader, LabelSelector& selector) {
  const Json* value = reader.raw("label_selector");
  if (value == nullptr) return;
  if (value->is_array())
    return reader.error("label_selector",
                        "one selector for each worker is not supported; give one object for all workers");
  std::map<std::string, std::string> texts;
  reader.read("label_selector", texts);
  for (const auto& [key, text] : texts) {
    auto match = parse_label_match(text);
    if (!is_label_key(key))
      reader.error("label_selector." + key,
                   "is no name of a label: [prefix/]name, of letters, digits, '-', '_', '.'");
    else if (!match)
      reader.error("label_selector." + key, match.error().message());
    else
      selector.emplace(key, std::move(*match));
  }
}

void read_scaling(ObjectReader& top, JobSpec& spec) {
  auto reader = top.object("scaling_config");
  if (!reader) return;
  auto& scaling = spec.scaling_config;
  read_workers(*reader, scaling);
  reader->read("use_gpu", scaling.use_gpu);
  read_resources(*reader, scaling);
  std::string strategy(to_string(scaling.placement_strategy));
  reader->read_choice("placement_strategy", strategy, {"PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"});
  for (const auto& [value, name] : kStrategies)
    if (name == strategy) scaling.placement_strategy = value;
  reader->refuse(
      "trainer_resources",
      "there is no such resource: the head is the controller and takes nothing from the workers' nodes");
  reader->refuse("use_tpu", "TPUs are not supported");
  reader->refuse("topology",
                 "TPUs are not supported; to keep the workers in one rack see scheduling.topology");
  reader->read("accelerator_type", scaling.accelerator_type);
  read_label_selector(*reader, scaling.label_selector);
  reader->read("elastic_resize_monitor_interval_s", scaling.elastic_resize_monitor_interval_s, 0, kNoMax);
  reader->finish();
}

void read_run(ObjectReader& top, JobSpec& spec) {
  auto reader = top.object("run_config");
  if (!reader) return;
  auto& run = spec.run_config;
  reader->read("storage_path", run.storage_path);
  reader->read("stop_grace_s", run.stop_grace_s, 0, 3600);
  if (double hang_s = 0; reader->raw("hang_timeout_s") != nullptr) {
    reader->read("hang_timeout_s", hang_s, 0, kNoMax, true);
    if (hang_s > 0) run.hang_timeout_s = hang_s;
  }
  if (auto failure = reader->object("failure_config")) {
    failure->read("max_failures", run.failure_config.max_failures, -1);
    failure->read("max_preemption_failures", run.failure_config.max_preemption_failures, -1);
    failure->read("controller_failure_limit", run.failure_config.controller_failure_limit, -1);
    for (const char* key : {"fail_fast", "relax_collectives_on_preemption", "preemption_grace_s"})
      failure->refuse(key, "not supported in this version");
    failure->finish();
  }
  if (auto checkpoint = reader->object("checkpoint_config")) {
    int keep = 0;
    checkpoint->read("num_to_keep", keep, 1);
    if (keep > 0) run.checkpoint_config.num_to_keep = keep;
    checkpoint->read("checkpoint_score_attribute", run.checkpoint_config.checkpoint_score_attribute);
    std::string order = "max";
    checkpoint->read_choice("checkpoint_score_order", order, {"max", "min"});
    run.checkpoint_config.score_is_max = order == "max";
    for (const char* key : {"checkpoint_frequency", "checkpoint_at_end"})
      checkpoint->refuse(key, "deprecated in Ray and not built here; report a checkpoint when you want one");
    checkpoint->finish();
  }
  reader->refuse("name", "use the top-level name");
  for (const char* key : {"storage_filesystem", "callbacks", "worker_runtime_env", "logging_config"})
    reader->refuse(key, "not supported in this version");
  reader->finish();
}

void read_torch(ObjectReader& top, JobSpec& spec) {
  auto reader = top.object("torch_config");
  if (!reader) return;
  reader->read_choice("backend", spec.torch_config.backend, {"auto", "nccl", "gloo", "cpu:gloo,cuda:nccl"});
  reader->read("timeout_s", spec.torch_config.timeout_s, 0, kNoMax, true);
  reader->read("init_timeout_s", spec.torch_config.init_timeout_s, 0, kNoMax, true);
  std::string init_method = "env";
  reader->read_choice("init_method", init_method, {"env"});
  reader->finish();
}

void read_top(ObjectReader& top, JobSpec& spec) {
  (void)top.raw("$schema");  // for editors
  top.read("name", spec.name);
  read_train_func(top, spec);
  top.read("command", spec.command);
  const bool has_function = top.raw("train_func") != nullptr, has_command = top.raw("command") != nullptr;
  if (has_function && has_command) top.error("command", "a job has either train_func or command, not both");
  if (!has_function && !has_command)
    top.error("", "a job needs train_func (a training function) or command (a program)");
  if (has_command && top.json()["command"].is_array() &&
      (top.json()["command"].empty() || top.json()["command"][0] == ""))
    top.error("command", "names no program");
  read_config(top, "train_loop_config", spec.train_loop_config);
  read_scaling(top, spec);
  spec.scaling_config.min_workers = spec.scaling_config.least_workers();
  read_run(top, spec);
  read_torch(top, spec);
  read_scheduling(top, spec.scheduling);
  top.read("env", spec.env);
  for (const auto& [name, value] : spec.env) {
    if (!is_variable(name))
      top.error("env." + name, "is no name of an environment variable");
    else if (is_reserved(name))
      top.error("env." + name, "is set by rtrain for each rank and cannot be given");
  }
  top.read("env_inherit", spec.env_inherit);
  top.read("working_dir", spec.working_dir);
  top.read("resume_from_checkpoint", spec.resume_from_checkpoint);
  read_validation(top, spec);
  for (const char* key : {"datasets", "secrets", "notify", "labels", "description"})
    top.refuse(key, "not supported in this version");
  for (const char* key : {"queue", "priority", "time_limit", "depends_on", "array", "hold"})
    top.refuse(key, std::string("write scheduling.") + key);
  top.finish();
  if (top.json().contains("name") && top.json()["name"].is_string() && !is_name(spec.name))
    top.error("name", kNameRule);
  if (spec.name.empty()) spec.name = default_name(spec);
  if (spec.run_config.storage_path.empty()) spec.run_config.storage_path = "~/rtrain_results";
}

void read_document(const Json& document, SpecReading& reading, SpecErrors& errors) {
  if (!document.is_object())
    return errors.add("", "a job file is a JSON object, this is " + type_words(document));
  ObjectReader top(document, "", errors);
  read_top(top, reading.spec);
}

}  // namespace

bool is_name(const std::string& name) {
  const auto inner = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= 128 && std::isalnum(static_cast<unsigned char>(name[0])) != 0 &&
         std::all_of(name.begin(), name.end(), inner);
}

Json plain_number(double value) {
  constexpr double kExactMax = 9007199254740992.0;  // 2^53
  if (value == std::floor(value) && std::abs(value) <= kExactMax) return static_cast<std::int64_t>(value);
  return value;
}

std::string to_string(const SpecError& error) {
  return error.path.empty() ? error.message : error.path + ": " + error.message;
}

std::string_view to_string(PlacementStrategy strategy) {
  for (const auto& [value, name] : kStrategies)
    if (value == strategy) return name;
  return "PACK";
}

SpecReading read_job_spec(std::string_view text) {
  JsonText read = read_json_text(text, kTextLimits);
  SpecReading reading;
  SpecErrors errors;
  // repeated keys do not end the reading
  const bool whole = read.problems.empty() || !read.problems.back().path.empty();
  for (auto& problem : read.problems) errors.add(std::move(problem));
  errors.add_uncounted(read.more);
  if (whole) read_document(read.value, reading, errors);
  errors.take(reading, text, kTextLimits);
  return reading;
}

SpecReading read_job_document(const Json& document) {
  SpecReading reading;
  SpecErrors errors;
  read_document(document, reading, errors);
  errors.take(reading, {}, {});
  return reading;
}

Result<Done> reads_back(const JobSpec& spec) {
  const std::string text = dump_json(to_json(spec));
  if (text.size() > kSpecBytesMax)
    return fail(Errc::kLimit,
                "the job has " + std::to_string(text.size()) + " bytes; at most " +
                    std::to_string(kSpecBytesMax) + " are taken",
                "put large data into a file");
  const auto json = parse_json(text);
  if (!json) return json.error().in("the job cannot be stored");
  const auto again = read_job_document(*json);
  if (!again.ok())
    return fail(Errc::kInvalidArgument, "the job cannot be stored: " + to_string(again.errors.front()));
  if (again.spec == spec) return ok();
  const Json there = Json::diff(to_json(spec), to_json(again.spec));
  return fail(Errc::kInvalidArgument,
              "the job cannot be stored" +
                  (there.empty() ? "" : ": " + there[0].value("path", "") + " reads back as something else"));
}

std::map<std::string, std::vector<std::string>> job_spec_keys() {
  const Json empty = Json::object();
  const Json document{{"train_func", empty},
                      {"scaling_config", empty},
                      {"run_config", {{"failure_config", empty}, {"checkpoint_config", empty}}},
                      {"torch_config", empty},
                      {"scheduling", {{"topology", empty}}},
                      {"validation", {{"train_func", empty}}}};
  SpecReading ignored;
  SpecErrors errors;
  read_document(document, ignored, errors);
  return std::move(errors.known_keys);
}

Json to_json(const JobSpec& spec) {
  Json j = Json::object();
  j["name"] = spec.name;
  if (spec.train_func) {
    j["train_func"] = {{"library", spec.train_func->library}};
    if (!spec.train_func->name.empty()) j["train_func"]["name"] = spec.train_func->name;
  } else {
    j["command"] = spec.command;
  }
  j["train_loop_config"] = spec.train_loop_config;
  const auto& scaling = spec.scaling_config;
  const Json workers =
      scaling.elastic() ? Json::array({scaling.min_workers, scaling.num_workers}) : Json(scaling.num_workers);
  j["scaling_config"] = {{"num_workers", workers},
                         {"use_gpu", scaling.use_gpu},
                         {"placement_strategy", std::string(to_string(scaling.placement_strategy))}};
  if (scaling.resources_per_worker) {
    Json& amounts = j["scaling_config"]["resources_per_worker"] = Json::object();
    for (const auto& [name, amount] : *scaling.resources_per_worker) amounts[name] = plain_number(amount);
  }
  if (!scaling.accelerator_type.empty()) j["scaling_config"]["accelerator_type"] = scaling.accelerator_type;
  for (const auto& [key, match] : scaling.label_selector)
    j["scaling_config"]["label_selector"][key] = to_string(match);
  j["scaling_config"]["elastic_resize_monitor_interval_s"] =
      plain_number(scaling.elastic_resize_monitor_interval_s);
  const auto& run = spec.run_config;
  j["run_config"] = {{"storage_path", run.storage_path},
                     {"stop_grace_s", plain_number(run.stop_grace_s)},
                     {"failure_config",
                      {{"max_failures", run.failure_config.max_failures},
                       {"max_preemption_failures", run.failure_config.max_preemption_failures},
                       {"controller_failure_limit", run.failure_config.controller_failure_limit}}},
                     {"checkpoint_config",
                      {{"checkpoint_score_order", run.checkpoint_config.score_is_max ? "max" : "min"}}}};
  if (run.hang_timeout_s) j["run_config"]["hang_timeout_s"] = plain_number(*run.hang_timeout_s);
  auto& checkpoint = j["run_config"]["checkpoint_config"];
  if (run.checkpoint_config.num_to_keep) checkpoint["num_to_keep"] = *run.checkpoint_config.num_to_keep;
  if (!run.checkpoint_config.checkpoint_score_attribute.empty())
    checkpoint["checkpoint_score_attribute"] = run.checkpoint_config.checkpoint_score_attribute;
  j["torch_config"] = {{"backend", spec.torch_config.backend},
                       {"timeout_s", plain_number(spec.torch_config.timeout_s)},
                       {"init_timeout_s", plain_number(spec.torch_config.init_timeout_s)}};
  j["scheduling"] = scheduling_json(spec.scheduling);
  j["env"] = spec.env;
  j["env_inherit"] = spec.env_inherit;
  if (!spec.working_dir.empty()) j["working_dir"] = spec.working_dir;
  if (!spec.resume_from_checkpoint.empty()) j["resume_from_checkpoint"] = spec.resume_from_checkpoint;
  if (spec.validation) j["validation"] = validation_json(*spec.validation);
  return j;
}

}  // namespace rtrain::proto
