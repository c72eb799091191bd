#include "proto/message/message.h"

#include "proto/message/type_fields.h"

#include <algorithm>
#include <array>

namespace rtrain::proto {

using codec::count;
using codec::Ranged;
using codec::Required;

void visit_fields(auto& visit, Is<RankKey> auto& v) {
  visit("job", Required{v.job});
  visit("attempt", Required{v.attempt});
  visit("rank", Required{v.rank});
}
void visit_fields(auto& visit, Is<Hello> auto& v) {
  visit("protocol_version", v.protocol_version);
  visit("role", Required{v.role});
  visit("token", v.token);
  visit("node", v.node);
  visit("rank", v.rank);
  visit("running", v.running);
  visit("pid", v.pid);
  visit("torch_version", v.torch_version);
}
void visit_fields(auto& visit, Is<Welcome> auto& v) {
  visit("lease_s", v.lease_s);
  visit("heartbeat_s", v.heartbeat_s);
}
void visit_fields(auto& visit, Is<Refused> auto& v) {
  visit("code", v.code);
  visit("message", v.message);
}
void visit_fields(auto& visit, Is<Heartbeat> auto& m) { visit("lease_s", m.lease_s); }
void visit_fields(auto&, Is<Leaving> auto&) {}
void visit_fields(auto& visit, Is<ReservePort> auto& v) {
  visit("job", Required{v.job});
  visit("attempt", Required{v.attempt});
}
void visit_fields(auto& visit, Is<Launch> auto& v) {
  visit("job", Required{v.job});
  visit("attempt", Required{v.attempt});
  visit("spec", Required{v.spec});
  visit("run_name", v.run_name);
  visit("run_dir", Required{v.run_dir});
  visit("submitted_ms", v.submitted_ms);
  visit("world_size", v.world_size);
  visit("num_nodes", v.num_nodes);
  visit("ranks", Required{v.ranks});
  visit("master_addr", v.master_addr);
  visit("master_port", Ranged{v.master_port, 0, 65535});
  visit("checkpoints", v.checkpoints);
  visit("next_checkpoint_index", count(v.next_checkpoint_index));
  visit("array", v.array);
  visit("validates", v.validates);
  visit("sweep", v.sweep);
  visit("pins", v.pins);
}
void visit_fields(auto& visit, Is<StopAttempt> auto& v) {
  visit("job", Required{v.job});
  visit("attempt", Required{v.attempt});
  visit("grace_s", v.grace_s);
  visit("reason", v.reason);
}
void visit_fields(auto& visit, Is<LogRead> auto& v) {
  visit("request", v.request);
  visit("key", Required{v.key});
  visit("offset", v.offset);
  visit("bytes_max", count(v.bytes_max));
  visit("wait_s", v.wait_s);
}
void visit_fields(auto& visit, Is<PortReserved> auto& v) {
  visit("job", Required{v.job});
  visit("attempt", Required{v.attempt});
  visit("port", Ranged{v.port, 0, 65535});
  visit("error", v.error);
}
void visit_fields(auto& visit, Is<RankStarted> auto& v) {
  visit("key", Required{v.key});
  visit("pid", v.pid);
}
void visit_fields(auto& visit, Is<RankRunning> auto& v) { visit("key", Required{v.key}); }
void visit_fields(auto& visit, Is<RankReport> auto& v) {
  visit("key", Required{v.key});
  visit("seq", count(v.seq));
  visit("time_ms", count(v.time_ms));
  visit("metrics", v.metrics);
  visit("checkpoint", v.checkpoint);
  visit("deleted_checkpoints", v.deleted_checkpoints);
  visit("dropped", count(v.dropped));
}
void visit_fields(auto& visit, Is<RankProgress> auto& v) {
  visit("key", Required{v.key});
  visit("stage", v.stage);
  visit("epoch", v.epoch);
  visit("max_epochs", v.max_epochs);
  visit("step", v.step);
  visit("steps", v.steps);
  visit("steps_per_s", v.steps_per_s);
  visit("prog_bar", v.prog_bar);
}
void visit_fields(auto& visit, Is<RankEnded> auto& v) {
  visit("key", Required{v.key});
  visit("status", Required{v.status});
  visit("error", v.error);
  visit("return_value", v.return_value);
  visit("yielded", v.yielded);
}
void visit_fields(auto& visit, Is<YieldAttempt> auto& v) {
  visit("job", Required{v.job});
  visit("attempt", Required{v.attempt});
  visit("grace_s", v.grace_s);
  visit("reason", v.reason);
}
void visit_fields(auto& visit, Is<CheckpointValidated> auto& v) {
  visit("job", Required{v.job});
  visit("attempt", Required{v.attempt});
  visit("checkpoint", Required{v.checkpoint});
}
void visit_fields(auto& visit, Is<CheckpointPins> auto& v) {
  visit("job", Required{v.job});
  visit("attempt", Required{v.attempt});
  visit("paths", Required{v.paths});
}
void visit_fields(auto& visit, Is<Taken> auto& v) { visit("count", count(v.count)); }
void visit_fields(auto& visit, Is<RankDiagnosis> auto& v) {
  visit("key", Required{v.key});
  visit("stage", v.stage);
  visit("epoch", v.epoch);
  visit("step", v.step);
  visit("silent_s", v.silent_s);
  visit("collective", v.collective);
  visit("collective_seq", v.collective_seq);
  visit("in_collective", v.in_collective);
}
void visit_fields(auto& visit, Is<ProfileRanks> auto& v) {
  visit("job", Required{v.job});
  visit("attempt", Required{v.attempt});
  visit("request", v.request);
  visit("steps", count(v.steps));
  visit("ranks", v.ranks);
  visit("timeout_s", v.timeout_s);
}
void visit_fields(auto& visit, Is<RankProfile> auto& v) {
  visit("key", Required{v.key});
  visit("request", v.request);
  visit("steps", count(v.steps));
  visit("trace", v.trace);
  visit("error", v.error);
}
void visit_fields(auto& visit, Is<DebugRanks> auto& v) {
  visit("job", Required{v.job});
  visit("attempt", Required{v.attempt});
  visit("request", count(v.request));
  visit("ranks", v.ranks);
}
void visit_fields(auto& visit, Is<RankDebug> auto& v) {
  visit("key", Required{v.key});
  visit("request", count(v.request));
  visit("snapshot", v.snapshot);
  visit("error", v.error);
}
void visit_fields(auto& visit, Is<NodeHealth> auto& v) {
  visit("quarantined_gpus", v.quarantined_gpus);
  visit("reason", v.reason);
}
void visit_fields(auto& visit, Is<LogData> auto& v) {  // `data` travels as the frame's body
  visit("request", Required{v.request});
  visit("offset", count(v.offset));
  visit("at_end", v.at_end);
  visit("complete", v.complete);
  visit("error", v.error);
}
void visit_fields(auto& visit, Is<SpawnRank> auto& v) {
  visit("key", Required{v.key});
  visit("argv", v.argv);
  visit("train_func", v.train_func);
  visit("env", v.env);
  visit("working_dir", v.working_dir);
  visit("rank_dir", Required{v.rank_dir});
  visit("cgroup", v.cgroup);
  visit("kill_wait_s", v.kill_wait_s);
}
void visit_fields(auto& visit, Is<SpawnResult> auto& v) {
  visit("key", Required{v.key});
  visit("pid", v.pid);
  visit("error", v.error);
}
void visit_fields(auto& visit, Is<SignalRank> auto& v) {
  visit("key", Required{v.key});
  visit("signal", Required{v.signal});
}
void visit_fields(auto& visit, Is<SupervisedEnd> auto& v) {
  visit("key", Required{v.key});
  visit("status", Required{v.status});
  visit("stuck_pid", v.stuck_pid);
}

namespace {

/// By Message::index(). The static_assert and the test "every alternative round-trips" keep it in step.
constexpr std::array<std::string_view, 30> kNames{"hello",          "welcome",        "refused",
                                                  "heartbeat",      "reserve_port",   "launch",
                                                  "stop_attempt",   "log_read",       "port_reserved",
                                                  "rank_started",   "rank_running",   "rank_report",
                                                  "rank_progress",  "rank_ended",     "log_data",
                                                  "spawn_rank",     "spawn_result",   "signal_rank",
                                                  "supervised_end", "leaving",        "yield_attempt",
                                                  "taken",          "rank_diagnosis", "node_health",
                                                  "profile_ranks",  "rank_profile",   "checkpoint_validated",
                                                  "debug_ranks",    "rank_debug",     "checkpoint_pins"};
static_assert(kNames.size() == std::variant_size_v<Message>);

}  // namespace

std::string to_string(const RankKey& key) {
  return to_string(key.job) + "." + to_string(key.attempt) + "." + std::to_string(key.rank);
}

std::optional<RankKey> rank_of(const Message& message) {
  return std::visit(
      []<class T>(const T& m) -> std::optional<RankKey> {
        if constexpr (std::is_same_v<T, RankRunning> || std::is_same_v<T, RankReport> ||
                      std::is_same_v<T, RankProgress> || std::is_same_v<T, RankDiagnosis> ||
                      std::is_same_v<T, RankProfile> || std::is_same_v<T, RankDebug>)
          return m.key;
        else
          return std::nullopt;
      },
      message);
}

std::string_view message_name(const Message& message) { return kNames[message.index()]; }

Frame encode(const Message& message) {
  Json json;
  std::visit([&](const auto& value) { codec::write(json, value); }, message);
  json["type"] = message_name(message);
  const auto* log = std::get_if<LogData>(&message);
  return {dump_json(json), log != nullptr ? log->data : std::string()};
}

Result<Message> decode(const Frame& frame) {
  // whoever received it has held its length against a limit
  const auto json = parse_json(frame.json, {.bytes_max = kFrameJsonBytesMax});
  if (!json) return fail(Errc::kProtocol, "a message that is not JSON: " + json.error().message());
  const auto type = json->find("type");
  if (!json->is_object() || type == json->end() || !type->is_string())
    return fail(Errc::kProtocol, "a message without a type");
  const auto name = type->get<std::string>();
  const auto known = std::find(kNames.begin(), kNames.end(), name);
  if (known == kNames.end())
    return fail(Errc::kProtocol, "unknown message \"" + name.substr(0, 64) + "\"",
                "the peer may be of a newer version");
  auto message = codec::alternative<Message>(static_cast<std::size_t>(known - kNames.begin()));
  try {
    std::visit([&](auto& value) { codec::read(*json, value); }, message);
  } catch (const FieldError& error) {
    return fail(Errc::kProtocol, error.under(name).what());
  }
  if (auto* log = std::get_if<LogData>(&message))
    log->data = frame.body;
  else if (!frame.body.empty())
    return fail(Errc::kProtocol, name + ": a body is not expected with this message");
  return message;
}

}  // namespace rtrain::proto
