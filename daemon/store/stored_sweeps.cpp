#include "daemon/store/stored_sweeps.h"

#include "daemon/store/schema.h"

namespace rtrain::store {
namespace {

constexpr std::string_view kFirstEvent = "\"sweep_submitted\"";

/// Whether the searcher gives the same trial again.
bool is_suggested_again(const core::SweepState& state, const proto::SweepEvent& event) {
  const auto* suggested = std::get_if<proto::TrialSuggested>(&event);
  if (suggested == nullptr || suggested->by != proto::to_string(state.spec->search.method)) return true;
  const auto again = core::suggest(state);
  return again && again->params == suggested->params && again->generation == suggested->generation;
}

Result<Done> replay_one(FoundSweep& found, JobId id, std::string_view text, SearchAgain again) {
  auto json = proto::parse_json(text, kStoredJson);
  if (!json) return json.error();
  auto event = proto::sweep_event_from_json(*json);
  if (!event) return event.error();
  if (!found.record) {
    const auto* submitted = std::get_if<proto::SweepSubmitted>(&event->event);
    if (submitted == nullptr) return fail(Errc::kProtocol, "the first event is no sweep_submitted");
    found.record.emplace(SweepRecord{core::submitted_sweep(id.value(), *submitted), event->at, 0});
    return ok();
  }
  auto& state = found.record->state;
  const bool other = again == SearchAgain::kYes && !is_suggested_again(state, event->event);
  if (auto done = core::fold(state, event->event); !done) return done;
  if (other) found.other_suggestions.push_back(std::get<proto::TrialSuggested>(event->event).trial);
  if (core::is_terminal(state.phase)) found.record->ended_ms = event->at;
  return ok();
}

}  // namespace

FoundSweep replay_stored_sweep(Statement& events, JobId id, SearchAgain again) {
  FoundSweep found;
  const auto place = [&] { return "event " + std::to_string(found.events.size()) + ": "; };
  events.bind(id.value());
  for (;;) {
    auto row = events.step();
    if (!row) found.problem = place() + row.error().message();
    if (!row || !*row) break;
    auto done = events.integer(0) == static_cast<std::int64_t>(found.events.size())
                    ? replay_one(found, id, events.text(2), again)
                    : Result<Done>(fail(Errc::kIo, "it is missing"));
    if (!done) {
      events.reset();
      found.problem = place() + done.error().message();
      break;
    }
    found.events.emplace_back(events.integer(1), events.text(2));
  }
  if (!found.record && found.problem.empty()) found.problem = "it has no events";
  return found;
}

Result<bool> is_sweep(Statement& events, JobId id) {
  auto row = events.bind(id.value()).step();
  if (!row) return row.error();
  if (!*row) return false;
  const bool first = events.integer(0) == 0 && events.text(2).find(kFirstEvent) != std::string_view::npos;
  bool is = false;
  if (first)
    if (auto json = proto::parse_json(events.text(2), kStoredJson))
      is = json->is_object() && json->contains("type") && json->at("type") == "sweep_submitted";
  events.reset();
  return is;
}

std::string other_suggestions(const FoundSweep& found) {
  const auto count = found.other_suggestions.size();
  if (count == 0) return {};
  return std::to_string(count) + (count == 1 ? " suggestion is" : " suggestions are") +
         " not what the searcher gives on this machine, the first for trial " +
         std::to_string(found.other_suggestions.front()) + "; what is stored counts";
}

}  // namespace rtrain::store
