#include "proto/event/event.h"

#include "proto/event/stamped.h"
#include "proto/message/type_fields.h"

#include <array>

namespace rtrain::proto {

namespace {
constexpr std::array<std::string_view, 3> kFailureClasses{"user", "infrastructure", "preemption"};
constexpr std::array<std::string_view, 7> kYieldCauses{"preempted", "drain",    "resize",  "pruned",
                                                       "paused",    "finished", "replaced"};
}  // namespace

std::span<const std::string_view> enum_names(FailureClass) { return kFailureClasses; }
std::span<const std::string_view> enum_names(YieldCause) { return kYieldCauses; }
std::string_view to_string(FailureClass failure_class) {
  return kFailureClasses[static_cast<std::size_t>(failure_class)];
}
std::string_view to_string(YieldCause cause) { return kYieldCauses[static_cast<std::size_t>(cause)]; }

using codec::count;
using codec::Required;

void visit_fields(auto& visit, Is<JobSubmitted> auto& v) {
  visit("spec", Required{v.spec});
  visit("run_name", v.run_name);
  visit("run_dir", v.run_dir);
  visit("user", v.user);
  visit("array", v.array);
  visit("submission", v.submission);
  visit("validates", v.validates);
  visit("sweep", v.sweep);
}
void visit_fields(auto& visit, Is<AttemptPlaced> auto& v) {
  visit("attempt", Required{v.attempt});
  visit("ranks", Required{v.ranks});
}
void visit_fields(auto& visit, Is<RankForked> auto& v) {
  visit("attempt", Required{v.attempt});
  visit("rank", Required{v.rank});
  visit("pid", v.pid);
}
void visit_fields(auto& visit, Is<RankEntered> auto& v) {
  visit("attempt", Required{v.attempt});
  visit("rank", Required{v.rank});
}
void visit_fields(auto& visit, Is<MetricsReported> auto& v) {
  visit("attempt", Required{v.attempt});
  visit("seq", count(v.seq));
  visit("metrics", v.metrics);
  visit("checkpoint", v.checkpoint);
  visit("deleted_checkpoints", v.deleted_checkpoints);
}
void visit_fields(auto& visit, Is<RankFinished> auto& v) {
  visit("attempt", Required{v.attempt});
  visit("rank", Required{v.rank});
  visit("status", v.status);
  visit("error", v.error);
  visit("return_value", v.return_value);
  visit("yielded", v.yielded);
}
void visit_fields(auto& visit, Is<AttemptFailed> auto& v) {
  visit("attempt", Required{v.attempt});
  visit("error", v.error);
  visit("retry", v.retry);
  visit("reason", v.reason);
  visit("failure_class", v.failure_class);
  visit("counted", v.counted);
  visit("retry_at_ms", v.retry_at_ms);
  visit("reported", v.reported);
}
void visit_fields(auto& visit, Is<CancelRequested> auto& v) { visit("by", v.by); }
void visit_fields(auto& visit, Is<AttemptEnded> auto& v) {
  visit("attempt", Required{v.attempt});
  visit("last_seq", count(v.last_seq));
}
void visit_fields(auto& visit, Is<JobHeld> auto& v) {
  visit("by", v.by);
  visit("by_sweep", v.by_sweep);
}
void visit_fields(auto& visit, Is<JobReleased> auto& v) {
  visit("by", v.by);
  visit("by_sweep", v.by_sweep);
}
void visit_fields(auto& visit, Is<FirstStep> auto& v) { visit("attempt", v.attempt); }
void visit_fields(auto& visit, Is<YieldRequested> auto& v) {
  visit("attempt", Required{v.attempt});
  visit("cause", v.cause);
  visit("reason", v.reason);
  visit("grace_s", v.grace_s);
  visit("retry", v.retry);
  visit("checkpoint", v.checkpoint);
}
void visit_fields(auto& visit, Is<TimeLimitReached> auto& v) {
  visit("attempt", Required{v.attempt});
  visit("limit_s", v.limit_s);
}
void visit_fields(auto& visit, Is<ValidationStarted> auto& v) {
  visit("index", count(v.index));
  visit("job", Required{v.job});
}
void visit_fields(auto& visit, Is<ValidationEnded> auto& v) {
  visit("index", count(v.index));
  visit("status", Required{v.status});
  visit("metrics", v.metrics);
  visit("error", v.error);
}

namespace {

constexpr std::array<std::string_view, 16> kEventNames{
    "job_submitted",    "attempt_placed",     "rank_forked",        "rank_entered",
    "metrics_reported", "rank_finished",      "attempt_failed",     "cancel_requested",
    "attempt_ended",    "job_held",           "job_released",       "first_step",
    "yield_requested",  "time_limit_reached", "validation_started", "validation_ended"};
static_assert(kEventNames.size() == std::variant_size_v<JobEvent>);

}  // namespace

std::string_view event_name(const JobEvent& event) { return kEventNames[event.index()]; }

Json to_json(const StampedEvent& event) { return codec::write_stamped(event, kEventNames); }

Result<StampedEvent> event_from_json(const Json& json) {
  return codec::read_stamped<StampedEvent>(json, kEventNames);
}

}  // namespace rtrain::proto
