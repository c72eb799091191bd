#include "daemon/store/job_state_json.h"

#include "proto/message/type_fields.h"

#include <array>
#include <charconv>

namespace rtrain::core {

// The names are those that users see, in the order of the enumeration.
std::span<const std::string_view> enum_names(JobPhase) {
  static const std::array<std::string_view, 8> names{
      to_string(JobPhase::kQueued),   to_string(JobPhase::kStarting),   to_string(JobPhase::kRunning),
      to_string(JobPhase::kStopping), to_string(JobPhase::kValidating), to_string(JobPhase::kSucceeded),
      to_string(JobPhase::kFailed),   to_string(JobPhase::kCancelled)};
  return names;
}
std::span<const std::string_view> enum_names(RankPhase) {
  static const std::array<std::string_view, 4> names{
      to_string(RankPhase::kPlaced), to_string(RankPhase::kForked), to_string(RankPhase::kRunning),
      to_string(RankPhase::kEnded)};
  return names;
}

// Every member is bound by name: whoever adds one is stopped here by the compiler.

void visit_fields(auto& visit, proto::Is<RankState> auto& v) {
  auto& [placement, phase, pid, status, started, yielded] = v;
  visit("placement", placement);
  visit("phase", phase);
  visit("pid", pid);
  visit("status", status);
  visit("started", started);
  visit("yielded", yielded);
}
void visit_fields(auto& visit, proto::Is<Yield> auto& v) {
  auto& [cause, reason, grace_s, retry, checkpoint] = v;
  visit("cause", cause);
  visit("reason", reason);
  visit("grace_s", grace_s);
  visit("retry", retry);
  visit("checkpoint", checkpoint);
}
void visit_fields(auto& visit, proto::Is<PastFailure> auto& v) {
  auto& [failure_class, kind, message, before_first_step] = v;
  visit("failure_class", failure_class);
  visit("kind", kind);
  visit("message", message);
  visit("before_first_step", before_first_step);
}
/// All but `nodes`, whose keys are numbers.
void visit_fields(auto& visit, proto::Is<JobState> auto& v) {
  auto& [id, spec, run_name, run_dir, user, array, submission, phase, submitted_ms, started_ms, ended_ms,
         placed_ms, updated_ms, not_before_ms, held, held_by, paused, attempt, ranks, nodes, failures,
         controller_failures, preemptions, drains, resizes, failures_by_class, failed_in_row, last_failure,
         first_step, yield, last_seq, metrics, reports, made_before, checkpoints, next_checkpoint_index,
         return_value, error, verdict, failure_class, retry, failed_rank, failed_rank_error, cancel_requested,
         cancelled_by, validates, sweep] = v;
  static_cast<void>(nodes);
  visit("id", id);
  visit("spec", spec);
  visit("run_name", run_name);
  visit("run_dir", run_dir);
  visit("user", user);
  visit("array", array);
  visit("submission", submission);
  visit("phase", phase);
  visit("submitted_ms", submitted_ms);
  visit("started_ms", started_ms);
  visit("ended_ms", ended_ms);
  visit("placed_ms", placed_ms);
  visit("updated_ms", updated_ms);
  visit("not_before_ms", not_before_ms);
  visit("held", held);
  visit("held_by", held_by);
  visit("paused", paused);
  visit("attempt", attempt);
  visit("ranks", ranks);
  visit("failures", failures);
  visit("controller_failures", controller_failures);
  visit("preemptions", preemptions);
  visit("drains", drains);
  visit("resizes", resizes);
  visit("failures_by_class", failures_by_class);
  visit("failed_in_row", failed_in_row);
  visit("last_failure", last_failure);
  visit("first_step", first_step);
  visit("yield", yield);
  visit("last_seq", last_seq);
  visit("metrics", metrics);
  visit("reports", reports);
  visit("made_before", made_before);
  visit("checkpoints", checkpoints);
  visit("next_checkpoint_index", next_checkpoint_index);
  visit("return_value", return_value);
  visit("error", error);
  visit("verdict", verdict);
  visit("failure_class", failure_class);
  visit("retry", retry);
  visit("failed_rank", failed_rank);
  visit("failed_rank_error", failed_rank_error);
  visit("cancel_requested", cancel_requested);
  visit("cancelled_by", cancelled_by);
  visit("validates", validates);
  visit("sweep", sweep);
}

}  // namespace rtrain::core

namespace rtrain::store {

using proto::Json;

Json to_json(const core::JobState& state) {
  Json json;
  proto::codec::write(json, state);
  auto& nodes = json["nodes"] = Json::object();
  for (const auto& [attempt, names] : state.nodes) nodes[to_string(attempt)] = names;
  return json;
}

Result<core::JobState> job_state_from_json(const Json& json) {
  core::JobState state;
  try {
    proto::codec::read(json, state);
    std::map<std::string, std::vector<std::string>> nodes;
    proto::codec::Reader{json}("nodes", nodes);
    for (auto& [text, names] : nodes) {
      std::int64_t attempt = 0;
      const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), attempt);
      if (ec != std::errc{} || end != text.data() + text.size())
        return fail(Errc::kProtocol, "job state.nodes: \"" + text + "\" is no number of an attempt");
      state.nodes.emplace(Attempt(attempt), std::move(names));
    }
  } catch (const proto::FieldError& error) {
    return fail(Errc::kProtocol, error.under("job state").what());
  }
  return state;
}

}  // namespace rtrain::store
