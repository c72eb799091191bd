#include "daemon/agent/attempt_record.h"

#include "common/log/log.h"
#include "common/os/file.h"
#include "proto/record/rank_files.h"

#include <filesystem>

namespace rtrain::agent {
namespace fs = std::filesystem;
namespace {

constexpr const char* kLaunch = "/launch.json";
constexpr const char* kLive = "/live.json";
constexpr const char* kYield = "/yield";
constexpr const char* kEnd = "/end.json";

template <class T>
Result<T> read_message(const std::string& path) {
  auto text = os::read_file(path);
  if (!text) return text.error();
  auto message = proto::decode({std::move(*text), {}});
  if (!message) return message.error().in(path);
  auto* wanted = std::get_if<T>(&*message);
  if (wanted == nullptr)
    return fail(Errc::kProtocol,
                path + ": holds another message: " + std::string(proto::message_name(*message)));
  return std::move(*wanted);
}

Result<LiveAttempt> read_attempt(const std::string& dir) {
  auto text = os::read_file(dir + kLive, 4096);
  if (!text) return text.error();
  const auto live = proto::parse_json(*text);
  if (!live || !live->is_object() || !live->contains("secret") || !live->at("secret").is_string())
    return fail(Errc::kProtocol, dir + kLive + ": no secret");
  auto launch = read_message<proto::Launch>(dir + kLaunch);
  if (!launch) return launch.error();
  const auto tree = live->find("cgroup_tree");  // an agent before this version wrote none
  return LiveAttempt{std::move(*launch), live->at("secret").get<std::string>(),
                     tree != live->end() && tree->is_string() ? tree->get<std::string>() : "",
                     fs::exists(dir + kYield)};
}

}  // namespace

Result<Done> record_attempt(const std::string& state_dir, const LiveAttempt& attempt) {
  const auto dir = proto::attempt_dir(state_dir, attempt.launch.job, attempt.launch.attempt);
  std::error_code ignored;
  fs::remove_all(dir, ignored);
  for (const auto& placement : attempt.launch.ranks) {
    const proto::RankKey key{attempt.launch.job, attempt.launch.attempt, placement.rank};
    if (auto made = os::make_dirs(proto::rank_dir(state_dir, key), 0700); !made) return made;
  }
  if (auto made = os::make_dirs(dir, 0700); !made) return made;
  if (auto written = os::replace_file(dir + kLaunch, proto::encode(attempt.launch).json, 0600); !written)
    return written;
  return os::replace_file(
      dir + kLive,
      proto::dump_json({{"secret", attempt.secret}, {"cgroup_tree", attempt.cgroup_tree}}) + "\n", 0600);
}

void record_yield(const std::string& state_dir, JobId job, Attempt attempt) {
  const auto path = proto::attempt_dir(state_dir, job, attempt) + kYield;
  if (auto written = os::replace_file(path, "", 0600); !written)
    log::warn("a request to yield cannot be written down",
              {{"file", path}, {"cause", written.error().message()}});
}

void forget_attempt(const std::string& state_dir, JobId job, Attempt attempt) {
  std::error_code ignored;
  fs::remove(proto::attempt_dir(state_dir, job, attempt) + kLive, ignored);
}

std::vector<LiveAttempt> find_attempts(const std::string& state_dir) {
  std::vector<LiveAttempt> found;
  std::error_code none;
  for (const auto& job : fs::directory_iterator(state_dir + "/jobs", none)) {
    for (const auto& attempt : fs::directory_iterator(job.path(), none)) {
      if (!fs::exists(attempt.path().string() + kLive)) continue;
      if (auto read = read_attempt(attempt.path()))
        found.push_back(std::move(*read));
      else
        log::error("an attempt of an earlier agent is given up",
                   {{"folder", attempt.path().string()}, {"cause", read.error().message()}});
    }
  }
  return found;
}

bool has_live_attempt(const std::string& job_dir) {
  std::error_code none;
  for (const auto& attempt : fs::directory_iterator(job_dir, none))
    if (fs::exists(attempt.path().string() + kLive)) return true;
  return false;
}

void record_end(const std::string& rank_dir, const proto::RankEnded& end) {
  if (auto written = os::replace_file(rank_dir + kEnd, proto::encode(end).json, 0600); !written)
    log::warn("a rank's end cannot be written down",
              {{"rank", to_string(end.key)}, {"cause", written.error().message()}});
}

std::optional<proto::RankEnded> read_end(const std::string& rank_dir) {
  auto end = read_message<proto::RankEnded>(rank_dir + kEnd);
  return end ? std::optional(std::move(*end)) : std::nullopt;
}

}  // namespace rtrain::agent
