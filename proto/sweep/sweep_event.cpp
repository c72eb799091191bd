#include "proto/sweep/sweep_event.h"

#include "proto/fields.h"
#include "proto/sweep/sweep_reader.h"

#include <algorithm>
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

// The spec has a writer and a reader of its own: to_json() and sweep_event_from_json() put it in.
void visit_fields(auto& visit, Is<SweepSubmitted> auto& v) { visit("user", v.user); }
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
}
void visit_fields(auto& visit, Is<SweepHeld> auto& v) { visit("by", v.by); }
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

template <std::size_t... I>
SweepEvent make_sweep_event(std::size_t index, std::index_sequence<I...>) {
  SweepEvent event;
  ((I == index ? static_cast<void>(event.emplace<I>()) : void()), ...);
  return event;
}

void read_spec(const Json& json, SweepSubmitted& event) {
  const auto found = json.find("spec");
  if (found == json.end()) throw FieldError("spec: missing");
  auto reading = read_sweep_document(*found);
  if (!reading.ok()) throw FieldError("spec: not a valid sweep: " + to_string(reading.errors.front()));
  event.spec = std::move(reading.spec);
}

}  // namespace

std::string_view event_name(const SweepEvent& event) { return kSweepEventNames[event.index()]; }

Json to_json(const StampedSweepEvent& event) {
  Json json;
  std::visit([&](const auto& value) { codec::write(json, value); }, event.event);
  if (const auto* submitted = std::get_if<SweepSubmitted>(&event.event))
    json["spec"] = to_json(submitted->spec);
  json["type"] = event_name(event.event);
  json["at_ms"] = event.at;
  return json;
}

Result<StampedSweepEvent> sweep_event_from_json(const Json& json) {
  const auto type = json.is_object() ? json.find("type") : json.end();
  if (type == json.end() || !type->is_string()) return fail(Errc::kProtocol, "an event without a type");
  const auto name = type->get<std::string>();
  const auto known = std::ranges::find(kSweepEventNames, name);
  if (known == kSweepEventNames.end())
    return fail(Errc::kProtocol, "unknown event \"" + name.substr(0, 64) + "\"");
  StampedSweepEvent event{0, make_sweep_event(static_cast<std::size_t>(known - kSweepEventNames.begin()),
                                              std::make_index_sequence<kSweepEventNames.size()>())};
  try {
    codec::Reader{json}("at_ms", event.at);
    std::visit([&](auto& value) { codec::read(json, value); }, event.event);
    if (auto* submitted = std::get_if<SweepSubmitted>(&event.event)) read_spec(json, *submitted);
  } catch (const FieldError& error) {
    return fail(Errc::kProtocol, error.under(name).what());
  }
  return event;
}

}  // namespace rtrain::proto
