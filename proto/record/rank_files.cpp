#include "proto/record/rank_files.h"

#include "common/os/file.h"

#include <fstream>

namespace rtrain::proto {
namespace {

/// Above what a rank may return (kReturnValueBytesMax) with all that stands around it.
constexpr std::size_t kFileBytesMax = 3u << 20;

Result<Json> read_json(const std::string& path) {
  auto text = os::read_file(path, kFileBytesMax);
  if (!text) return text.error();
  auto json = parse_json(*text);
  if (!json) return json.error().in(path);
  return json;
}

}  // namespace

std::string log_path(const std::string& rank_dir) { return rank_dir + "/log"; }

std::string crash_path(const std::string& rank_dir) { return rank_dir + "/crash"; }

std::string attempt_dir(const std::string& state_dir, JobId job, Attempt attempt) {
  return state_dir + "/jobs/" + to_string(job) + "/" + to_string(attempt);
}

std::string rank_dir(const std::string& state_dir, const RankKey& key) {
  return attempt_dir(state_dir, key.job, key.attempt) + "/rank-" + std::to_string(key.rank);
}

Result<Done> write_process(const std::string& rank_dir, const os::ProcessIdentity& process) {
  const Json json{{"pid", process.pid}, {"start_ticks", process.start_ticks}, {"boot", process.boot}};
  return os::replace_file(rank_dir + "/process.json", dump_json(json) + "\n", 0600);
}

Result<os::ProcessIdentity> read_process(const std::string& rank_dir) {
  const auto json = read_json(rank_dir + "/process.json");
  if (!json) return json.error();
  try {
    return os::ProcessIdentity{json->at("pid").get<pid_t>(), json->at("start_ticks").get<std::uint64_t>(),
                               json->at("boot").get<std::string>()};
  } catch (const Json::exception& e) {
    return fail(Errc::kProtocol, rank_dir + "/process.json: " + e.what());
  }
}

std::string outbox_path(const std::string& rank_dir) { return rank_dir + "/outbox.jsonl"; }

std::vector<Message> read_outbox(const std::string& rank_dir) {
  std::vector<Message> messages;
  std::ifstream file(outbox_path(rank_dir));
  for (std::string line; std::getline(file, line) && !file.eof();)
    if (auto message = decode({line, {}})) messages.push_back(std::move(*message));
  return messages;
}

Result<Done> write_exit_record(const std::string& rank_dir, const ExitRecord& record) {
  const Json json{{"job", record.key.job.value()}, {"attempt", record.key.attempt.value()},
                  {"rank", record.key.rank},       {"pid", record.pid},
                  {"status", record.status},       {"ended_ms", record.ended_ms}};
  return os::write_file_atomic(rank_dir + "/exit.json", dump_json(json) + "\n", 0600);
}

Result<ExitRecord> read_exit_record(const std::string& rank_dir) {
  const auto json = read_json(rank_dir + "/exit.json");
  if (!json) return json.error();
  try {
    ExitRecord record;
    record.key = {JobId(json->at("job").get<std::int64_t>()),
                  Attempt(json->at("attempt").get<std::int64_t>()), json->at("rank").get<int>()};
    record.pid = json->at("pid").get<std::int64_t>();
    record.status = json->at("status").get<ExitStatus>();
    record.ended_ms = json->at("ended_ms").get<std::int64_t>();
    return record;
  } catch (const Json::exception& e) {
    return fail(Errc::kProtocol, rank_dir + "/exit.json: " + e.what());
  }
}

Result<Done> write_error(const std::string& rank_dir, const RankError& error) {
  return os::write_file_atomic(rank_dir + "/error.json", dump_json(Json(error)) + "\n", 0600);
}

Result<RankError> read_error(const std::string& rank_dir) {
  const auto json = read_json(rank_dir + "/error.json");
  if (!json) return json.error();
  try {
    return json->get<RankError>();
  } catch (const Json::exception& e) {
    return fail(Errc::kProtocol, rank_dir + "/error.json: " + e.what());
  }
}

Result<Done> write_outcome(const std::string& rank_dir, const Outcome& outcome) {
  return os::write_file_atomic(
      rank_dir + "/outcome.json",
      dump_json(Json{{"return_value", outcome.return_value}, {"yielded", outcome.yielded}}) + "\n", 0600);
}

Result<Outcome> read_outcome(const std::string& rank_dir) {
  const auto json = read_json(rank_dir + "/outcome.json");
  if (!json) return json.error();
  if (!json->is_object() || !json->contains("return_value"))
    return fail(Errc::kProtocol, rank_dir + "/outcome.json: no return_value");
  const auto yielded = json->find("yielded");
  return Outcome{json->at("return_value"), yielded != json->end() && *yielded == true};
}

}  // namespace rtrain::proto
