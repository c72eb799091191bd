#include "proto/jobspec/validation_reader.h"

#include "proto/jobspec/resources.h"
#include "proto/jobspec/scheduling_reader.h"

#include <limits>

namespace rtrain::proto {
namespace {

constexpr std::size_t kConfigBytesMax = 1u << 20;
constexpr int kConfigDepthMax = kUserDepthMax - 1;  // the job file around it makes one more
constexpr double kTimeoutMaxS = 1e9;                // as of a time limit

/// Without the index that the head puts into the configuration of an array's job.
std::size_t config_bytes(const Json& config) {
  const auto index = config.find("array_index");
  const bool put_there = index != config.end() && index->is_number_integer();
  return dump_json(config).size() - (put_there ? dump_json(Json{{"array_index", *index}}).size() - 1 : 0);
}

/// A name alone is of the job's own library.
void read_function(ObjectReader& reader, const JobSpec& spec, ValidationConfig& validation) {
  auto function = reader.object("train_func");
  if (!function) {
    if (spec.train_func && reader.raw("train_func") == nullptr)
      reader.error("train_func", "missing; name the function that validates a checkpoint");
    return;
  }
  TrainFunc read;
  function->read("library", read.library);
  function->read("name", read.name);
  if (read.library.empty() && function->raw("library") == nullptr) {
    if (!spec.train_func)
      function->error("library", "missing; name the shared library that holds the validation function");
    else if (read.name.empty())
      function->error("name", "missing; name the function of the job's library that validates a checkpoint");
    else
      read.library = spec.train_func->library;
  }
  function->finish();
  validation.train_func = std::move(read);
}

}  // namespace

void read_config(ObjectReader& reader, const char* key, Json& config) {
  const Json* value = reader.raw(key);
  if (value == nullptr) return;
  if (!value->is_object())
    reader.error(key, "expected an object, found " + type_words(*value));
  else if (depth_of(*value) > kConfigDepthMax)
    reader.error(key, "is nested deeper than " + std::to_string(kConfigDepthMax) + " levels");
  else if (config_bytes(*value) > kConfigBytesMax)
    reader.error(key, "is larger than 1 MiB; put large data into a file");
  else
    config = *value;
}

void read_validation(ObjectReader& top, JobSpec& spec) {
  auto reader = top.object("validation");
  if (!reader) return;
  ValidationConfig validation;
  read_function(*reader, spec, validation);
  read_config(*reader, "train_loop_config", validation.train_loop_config);
  validation.resources = read_amounts(*reader, "resources");
  reader->read("timeout_s", validation.timeout_s, 0, kTimeoutMaxS, true);
  reader->refuse("fn", "write train_func");
  reader->refuse("task_config", "write timeout_s, and train_loop_config for fn_kwargs");
  reader->refuse("ray_remote_kwargs", "write resources");
  reader->finish();
  spec.validation = std::move(validation);
}

Json validation_json(const ValidationConfig& validation) {
  Json j = Json::object();
  if (validation.train_func) {
    j["train_func"] = {{"library", validation.train_func->library}};
    if (!validation.train_func->name.empty()) j["train_func"]["name"] = validation.train_func->name;
  }
  j["train_loop_config"] = validation.train_loop_config;
  if (validation.resources) {
    Json& amounts = j["resources"] = Json::object();
    for (const auto& [name, amount] : *validation.resources) amounts[name] = plain_number(amount);
  }
  j["timeout_s"] = plain_number(validation.timeout_s);
  return j;
}

}  // namespace rtrain::proto
