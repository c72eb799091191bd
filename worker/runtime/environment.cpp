#include "worker/runtime/environment.h"

#include "common/os/file.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>

namespace rtrain::runtime {
namespace {

/// Collects the first fault, so that a list of variables reads as a list.
class Reader {
 public:
  explicit Reader(const Variables& variable) : variable_(variable) {}

  std::string text(const std::string& name) {
    auto value = variable_(name);
    if (!value) fault(name, "is not set");
    return value.value_or("");
  }
  std::int64_t number(const std::string& name, std::int64_t min,
                      std::int64_t max = std::numeric_limits<int>::max()) {
    const std::string value = text(name);
    std::int64_t parsed = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
    if (error != std::errc{} || end != value.data() + value.size())
      fault(name, "is \"" + value + "\", not a whole number");
    else if (parsed < min || parsed > max)
      fault(name, "is " + value + ", not in " + std::to_string(min) + ".." + std::to_string(max));
    return parsed;
  }
  int small(const std::string& name, int min, int max = std::numeric_limits<int>::max()) {
    return static_cast<int>(number(name, min, max));
  }

  void fault(const std::string& name, const std::string& what) {
    if (!error_)
      error_ = fail(Errc::kInvalidArgument, name + " " + what,
                    "the agent sets it for every rank; do not change it in the job");
  }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  const Variables& variable_;
  std::optional<Error> error_;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Result<proto::Launch> read_launch(const std::string& path) {
  auto text = os::read_file(path);
  if (!text) return text.error().in("launch file");
  auto message = proto::decode({std::move(*text), {}});
  if (!message) return message.error().in("launch file " + path);
  auto* launch = std::get_if<proto::Launch>(&*message);
  if (launch == nullptr) return fail(Errc::kProtocol, "launch file " + path + ": holds no launch message");
  return std::move(*launch);
}

}  // namespace

Result<Environment> environment_of(const Variables& variable, const std::optional<proto::Launch>& launch) {
  Environment e;
  if (!launch) return e;
  constexpr auto kNumberMax = std::numeric_limits<std::int64_t>::max();
  Reader read(variable);
  e.in_job = true;
  e.launch = *launch;
  e.world_size = read.small("WORLD_SIZE", 1);
  e.rank = read.small("RANK", 0, std::max(0, e.world_size - 1));
  e.local_world_size = read.small("LOCAL_WORLD_SIZE", 1, std::max(1, e.world_size));
  e.local_rank = read.small("LOCAL_RANK", 0, std::max(0, e.local_world_size - 1));
  e.num_nodes = std::max(1, launch->num_nodes);
  e.node_rank = read.small("NODE_RANK", 0, e.num_nodes - 1);
  e.master_addr = read.text("MASTER_ADDR");
  e.master_port = read.small("MASTER_PORT", 0, 65535);
  e.key = {JobId(read.number("RTRAIN_JOB_ID", 1, kNumberMax)),
           Attempt(read.number("RTRAIN_ATTEMPT", 1, kNumberMax)), e.rank};
  e.node = read.text("RTRAIN_NODE");
  e.node_address = read.text("RTRAIN_NODE_ADDRESS");
  e.rank_dir = read.text("RTRAIN_RANK_DIR");
  e.agent_socket = read.text("RTRAIN_AGENT_SOCKET");
  e.secret = read.text("RTRAIN_SECRET");
  if (read.error()) return *read.error();
  if (e.key.job != launch->job || e.key.attempt != launch->attempt || e.world_size != launch->world_size)
    return fail(Errc::kConflict,
                "RTRAIN_JOB_ID, RTRAIN_ATTEMPT and WORLD_SIZE do not agree with the launch file",
                "they are set for each rank; do not change them in the job");

  const auto mine = std::find_if(launch->ranks.begin(), launch->ranks.end(),
                                 [&](const auto& placement) { return placement.rank == e.rank; });
  if (mine == launch->ranks.end())
    return fail(Errc::kConflict,
                "the launch file does not place rank " + std::to_string(e.rank) + " on this node");
  e.gpus = static_cast<int>(mine->gpus.size());
  const auto visible = split(variable("CUDA_VISIBLE_DEVICES").value_or(""));
  for (const int gpu : mine->gpus) {
    const auto at = std::find(visible.begin(), visible.end(), std::to_string(gpu));
    if (at == visible.end())
      return fail(Errc::kConflict,
                  "GPU " + std::to_string(gpu) + " of this rank is not in CUDA_VISIBLE_DEVICES",
                  "CUDA_VISIBLE_DEVICES is set for each rank; do not change it in the job");
    e.device_indices.push_back(static_cast<int>(at - visible.begin()));
  }
  return e;
}

Result<Environment> read_environment() {
  const auto variable = [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
  const auto file = variable("RTRAIN_LAUNCH_FILE");
  if (!file || file->empty()) return environment_of(variable, std::nullopt);
  auto launch = read_launch(*file);
  if (!launch) return launch.error();
  return environment_of(variable, *launch);
}

}  // namespace rtrain::runtime
