#include "cli/doctor_nvml.h"

#include "cli/limited_child.h"
#include "proto/json.h"

namespace rtrain::cli {

using proto::Json;

std::string nvml_line(const NvmlFacts& facts) {
  Json gpus = Json::array(), states = Json::array();
  for (const auto& gpu : facts.gpus.gpus)
    gpus.push_back(
        {{"index", gpu.index}, {"uuid", gpu.uuid}, {"name", gpu.name}, {"bytes", gpu.memory_bytes}});
  for (const auto& state : facts.states) {
    auto& made = states.emplace_back(Json{{"index", state.index},
                                          {"mhz", state.sm_clock_mhz},
                                          {"mhz_max", state.sm_clock_max_mhz},
                                          {"celsius", state.temperature_c},
                                          {"used", state.memory_used_bytes},
                                          {"processes", state.processes}});
    if (state.uncorrected_errors) made["errors"] = *state.uncorrected_errors;
  }
  return proto::dump_json({{"driver", facts.gpus.driver_version},
                           {"cuda", facts.gpus.cuda_version},
                           {"problem", facts.gpus.problem},
                           {"gpus", gpus},
                           {"states", states}});
}

std::optional<NvmlFacts> read_nvml_line(const std::string& line) {
  const auto json = proto::parse_json(line);
  if (!json) return std::nullopt;
  try {
    NvmlFacts facts;
    json->at("driver").get_to(facts.gpus.driver_version);
    json->at("cuda").get_to(facts.gpus.cuda_version);
    json->at("problem").get_to(facts.gpus.problem);
    for (const auto& gpu : json->at("gpus"))
      facts.gpus.gpus.push_back({gpu.at("index").get<int>(), gpu.at("uuid").get<std::string>(),
                                 gpu.at("name").get<std::string>(), gpu.at("bytes").get<std::uint64_t>()});
    for (const auto& told : json->at("states")) {
      os::GpuState state;
      told.at("index").get_to(state.index);
      told.at("mhz").get_to(state.sm_clock_mhz);
      told.at("mhz_max").get_to(state.sm_clock_max_mhz);
      told.at("celsius").get_to(state.temperature_c);
      told.at("used").get_to(state.memory_used_bytes);
      told.at("processes").get_to(state.processes);
      if (told.contains("errors")) state.uncorrected_errors = told.at("errors").get<std::uint64_t>();
      facts.states.push_back(std::move(state));
    }
    facts.problem = facts.gpus.problem;
    return facts;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

NvmlFacts ask_nvml_apart(std::chrono::milliseconds limit) {
  std::optional<NvmlFacts> answer;
  std::string other;
  const auto end =
      run_limited([] { tell_parent(nvml_line({os::ask_nvml(), os::gpu_states(), "", true})); }, limit,
                  [&](const std::string& line) {
                    if (line.starts_with('{'))
                      answer = read_nvml_line(line);
                    else
                      other = line;
                  });
  NvmlFacts failed;
  const std::string asking = "the process that asks NVML (libnvidia-ml.so.1) ";
  switch (end.how) {
    case ChildEnd::How::kLate:
      failed.problem =
          "the NVIDIA driver does not answer within " + std::to_string(limit.count() / 1000) + " s";
      return failed;
    case ChildEnd::How::kNotStarted:
      failed.problem = asking + end.problem;
      failed.was_asked = false;
      return failed;
    case ChildEnd::How::kTooMuch:
    case ChildEnd::How::kKilled:
    case ChildEnd::How::kExited: break;
  }
  if (end.problem.empty() && answer) return *answer;
  failed.was_asked = other != kNoMemory;
  failed.problem = asking + (!failed.was_asked     ? "has no memory left"
                             : end.problem.empty() ? std::string("ended without an answer")
                                                   : end.problem);
  return failed;
}

}  // namespace rtrain::cli
