#include "proto/sweep/sweep_event.h"

#include "proto/event/stamped.h"
#include "proto/sweep/sweep_reader.h"

#include <array>

namespace rtrain::proto {

namespace {
constexpr std::array<std::string_view, 5> kTrialOutcomes{"completed", "pruned", "failed", "invalid",
                                                         "cancelled"};
constexpr std::array<std::string_view, 3> kSweepOutcomes{"succeeded", "failed", "cancelled"};
}  // namespace

std::span<const std::string_view> enum_names(TrialOutcome) { return kTrialOutcomes; }
std::span<const std::string_view> enum_names(SweepOutcome) { return kSweepOutcomes; }
std::string_view to_string(TrialOutcome outcome) { return kTrialOutcomes[static_cast<std::size_t>(outcome)]; }
std::string_view to_string(SweepOutcome outcome) { return kSweepOutcomes[static_cast<std::size_t>(outcome)]; }

using codec::count;
using codec::Required;

void read_document(const Json& in, SweepSpec& spec) {
  auto reading = read_sweep_document(in);
  if (!reading.ok()) throw FieldError(": not a valid sweep: " + to_string(reading.errors.front()));
  spec = std::move(reading.spec);
}

void visit_fields(auto& visit, Is<KnownTrial> auto& v) {
  visit("params", Required{v.params});
  visit("complete", v.complete);
  visit("value", v.value);
  visit("resource", v.resource);
  visit("violation", v.violation);
}
void visit_fields(auto& visit, Is<SweepSubmitted> auto& v) {
  visit("spec", Required{v.spec});
  visit("user", v.user);
  visit("submission", v.submission);
  visit("known", v.known);
}
void visit_fields(auto& visit, Is<TrialSuggested> auto& v) {
  visit("trial", Required{v.trial});
  visit("params", Required{v.params});
  visit("by", v.by);
  visit("generation", count(v.generation));
}
void visit_fields(auto& visit, Is<TrialSubmitted> auto& v) {
  visit("trial", Required{v.trial});
  visit("job", Required{v.job});
}
void visit_fields(auto& visit, Is<RungReached> auto& v) {
  visit("trial", Required{v.trial});
  visit("rung", Required{v.rung});
  visit("resource", Required{v.resource});
  visit("value", v.value);
  visit("constraints", v.constraints);
  visit("checkpoint", v.checkpoint);
  visit("reports", count(v.reports));
}
void visit_fields(auto& visit, Is<TrialPaused> auto& v) {
  visit("trial", Required{v.trial});
  visit("rung", Required{v.rung});
  visit("reason", v.reason);
}
void visit_fields(auto& visit, Is<TrialPromoted> auto& v) {
  visit("trial", Required{v.trial});
  visit("rung", Required{v.rung});
  visit("reason", v.reason);
}
void visit_fields(auto& visit, Is<TrialStopped> auto& v) {
  visit("trial", Required{v.trial});
  visit("rung", v.rung);
  visit("finished", v.finished);
  visit("reason", v.reason);
}
void visit_fields(auto& visit, Is<TrialCloned> auto& v) {
  visit("trial", Required{v.trial});
  visit("donor", Required{v.donor});
  visit("rung", Required{v.rung});
  visit("params", Required{v.params});
  visit("checkpoint", v.checkpoint);
  visit("reason", v.reason);
  visit("resource", v.resource);
}
void visit_fields(auto& visit, Is<TrialEnded> auto& v) {
  visit("trial", Required{v.trial});
  visit("outcome", Required{v.outcome});
  visit("value", v.value);
  visit("resource", v.resource);
  visit("constraints", v.constraints);
  visit("error", v.error);
}
void visit_fields(auto& visit, Is<TrialEnqueued> auto& v) {
  visit("params", Required{v.params});
  visit("by", v.by);
  visit("retry_of", v.retry_of);
}
void visit_fields(auto& visit, Is<SweepHeld> auto& v) {
  visit("by", v.by);
  visit("reason", v.reason);
}
void visit_fields(auto& visit, Is<SweepReleased> auto& v) { visit("by", v.by); }
void visit_fields(auto& visit, Is<SweepExtended> auto& v) {
  visit("trials", count(v.trials));
  visit("by", v.by);
}
void visit_fields(auto& visit, Is<SweepStopping> auto& v) {
  visit("reason", v.reason);
  visit("now", v.now);
  visit("outcome", v.outcome);
}
void visit_fields(auto& visit, Is<SweepEnded> auto& v) {
  visit("outcome", Required{v.outcome});
  visit("reason", v.reason);
}

namespace {

constexpr std::array<std::string_view, 15> kSweepEventNames{
    "sweep_submitted", "trial_suggested", "trial_submitted", "rung_reached",   "trial_paused",
    "trial_promoted",  "trial_stopped",   "trial_cloned",    "trial_ended",    "trial_enqueued",
    "sweep_held",      "sweep_released",  "sweep_extended",  "sweep_stopping", "sweep_ended"};
static_assert(kSweepEventNames.size() == std::variant_size_v<SweepEvent>);

}  // namespace

std::string_view event_name(const SweepEvent& event) { return kSweepEventNames[event.index()]; }

Json to_json(const StampedSweepEvent& event) { return codec::write_stamped(event, kSweepEventNames); }

Result<StampedSweepEvent> sweep_event_from_json(const Json& json) {
  return codec::read_stamped<StampedSweepEvent>(json, kSweepEventNames);
}

}  // namespace rtrain::proto
