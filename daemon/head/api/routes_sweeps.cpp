// /v1/sweeps.
#include "common/base/clip.h"
#include "daemon/head/api/route_call.h"
#include "daemon/head/sweeps/sweep_documents.h"
#include "proto/sweep/sweep_reader.h"

#include <algorithm>
#include <limits>
#include <set>

namespace rtrain::head {
namespace {

using proto::Json;

constexpr std::int64_t kSweepsDefault = 100, kSweepsMax = 1000, kTrialsDefault = 1000,
                       kTrialsAtOnceMax = 10'000;
// ended sweeps that one request looks at: what is rare must not stall the head
constexpr std::int64_t kSweepsLookedAt = 1000;
constexpr std::int64_t kAllSweeps = std::numeric_limits<std::int64_t>::max();

Error no_such_sweep(const std::string& text) {
  return fail(Errc::kNotFound, "sweep " + clipped(text, 64) + ": no such sweep",
              "rtrain sweep list shows the sweeps");
}

Result<JobId> sweep_id(const RouteCall& call) {
  const auto number = whole_number(call.arguments[0]);
  if (!number || *number < 1) return no_such_sweep(call.arguments[0]);
  return JobId(*number);
}

Result<const SweepEntry*> sweep_of(const RouteCall& call) {
  const auto id = sweep_id(call);
  if (!id) return id.error();
  auto entry = call.dispatcher.sweeps().book().find(*id);
  if (!entry || *entry != nullptr) return entry;
  if (const auto* aside = call.dispatcher.start_report().find(*id))
    return fail(Errc::kConflict,
                "sweep " + to_string(*id) +
                    " was set aside when the head started, its record cannot be read: " + aside->why,
                "stop the head; rtraind fsck and rtraind recover of its state_dir help");
  return no_such_sweep(call.arguments[0]);
}

HttpResponse refused_sweep(const RouteCall& call, std::vector<proto::SpecError> errors) {
  const auto count = errors.size();
  return error_response(
      proto::ErrorDoc{std::string(to_string(Errc::kInvalidArgument)),
                      "the sweep file has " + std::to_string(count) + (count == 1 ? " error" : " errors"),
                      "rtrain sweep validate sweep.json shows them with their places", std::move(errors)},
      http::status::bad_request, call.request);
}

Reply submit_sweep(const RouteCall& call) {
  const auto key = idempotency_key(call.request);
  if (!key) return call.error(key.error());
  const auto& body = call.request.body();
  if (body.size() > proto::kSweepBytesMax)
    return call.error(fail(Errc::kLimit,
                           "the sweep file has " + std::to_string(body.size()) + " bytes; at most " +
                               std::to_string(proto::kSweepBytesMax) + " are read here",
                           "shorten start_with, or give domains as ranges instead of lists"));
  auto reading = proto::read_sweep_spec(body);
  if (!reading.ok()) return refused_sweep(call, std::move(reading.errors));
  auto errors = proto::check_resolved(reading.spec.job);
  for (auto& error : errors) error.path = "job." + error.path;
  // What a reader cannot know: how many points a grid has.
  if (reading.spec.search.method == proto::SearchMethod::kGrid)
    if (const auto grid = core::Grid::of(core::Space(reading.spec.parameters)); !grid)
      errors.push_back({"parameters", grid.error().message()});
  if (!errors.empty()) return refused_sweep(call, std::move(errors));
  if (auto storable = proto::reads_back(reading.spec.job); !storable)
    return call.error(storable.error().in("job"));
  auto id = call.dispatcher.sweeps().submit(std::move(reading.spec), call.user, *key);
  if (!id) return call.error(id.error());
  const auto entry = call.dispatcher.sweeps().book().find(*id);
  if (!entry) return call.error(entry.error());
  return call.json(sweep_doc(**entry), http::status::created);
}

Reply show_sweep(const RouteCall& call) {
  const auto entry = sweep_of(call);
  return entry ? call.json(sweep_doc(**entry)) : call.error(entry.error());
}

// ---- lists --------------------------------------------------------------------------------------

std::vector<std::string> sweep_states() {
  std::vector<std::string> names;
  for (int phase = 0; phase <= static_cast<int>(core::SweepPhase::kCancelled); ++phase)
    names.emplace_back(core::to_string(static_cast<core::SweepPhase>(phase)));
  return names;
}

std::vector<std::string> trial_states() {
  std::vector<std::string> names;
  for (int phase = 0; phase <= static_cast<int>(core::TrialPhase::kCancelled); ++phase)
    names.emplace_back(core::to_string(static_cast<core::TrialPhase>(phase)));
  return names;
}

Reply list_sweeps(const RouteCall& call) {
  const auto limit = query_number(call.target, "limit", kSweepsDefault, 1, kSweepsMax);
  const auto before = query_number(call.target, "before", kAllSweeps, 1, kAllSweeps);
  for (const auto* number : {&limit, &before})
    if (!*number) return call.error(number->error());
  static const auto kStates = sweep_states();
  const auto state = query_choice(call.target, "state", kStates);
  if (!state) return call.error(state.error());
  const auto user = call.target.query.find("user");
  const auto& book = call.dispatcher.sweeps().book();
  const auto takes = [&](const Json& row) {
    return (!*state || row.value("state", "") == kStates[**state]) &&
           (user == call.target.query.end() || row.value("user", "") == user->second);
  };
  const bool takes_all = !*state && user == call.target.query.end();
  // One more tells whether there is more.
  const auto looked_at = takes_all ? *limit + 1 : kSweepsLookedAt;
  auto rows = book.ended(JobId(*before), static_cast<int>(looked_at));
  if (!rows) return call.error(rows.error());
  const bool more_in_store = std::cmp_equal(rows->size(), looked_at);
  const JobId last = more_in_store ? rows->back().first : JobId(0);
  for (const auto& [id, entry] : book.all_live())
    if (id.value() < *before && id > last) rows->emplace_back(id, sweep_doc(entry));
  std::ranges::sort(*rows, std::greater<>(), [](const auto& row) { return row.first; });
  Json sweeps = Json::array();
  bool more = more_in_store;
  std::int64_t next = last.value();
  for (std::int64_t below = *before; auto& [id, row] : *rows) {
    if (std::cmp_equal(sweeps.size(), *limit)) {
      more = true;
      next = below;
      break;
    }
    below = id.value();
    if (takes(row)) sweeps.push_back(std::move(row));
  }
  return call.json({{"sweeps", std::move(sweeps)}, {"next", more ? next : 0}, {"more", more}});
}

Reply list_trials(const RouteCall& call) {
  const auto found = sweep_of(call);
  if (!found) return call.error(found.error());
  const auto from = query_number(call.target, "from", 0, 0),
             limit = query_number(call.target, "limit", kTrialsDefault, 1, kTrialsAtOnceMax);
  for (const auto* number : {&from, &limit})
    if (!*number) return call.error(number->error());
  static const auto kStates = trial_states();
  const auto state = query_choice(call.target, "state", kStates);
  if (!state) return call.error(state.error());
  const auto order = query_choice(call.target, "order", {"number", "best"});
  if (!order) return call.error(order.error());
  const auto& sweep = (*found)->state;
  std::vector<std::int64_t> numbers;
  if (order->value_or(0) == 1)
    numbers = core::ranked_trials(sweep);
  else
    for (std::size_t i = 0; i < sweep.trials.size(); ++i) numbers.push_back(static_cast<std::int64_t>(i));
  if (*state)
    std::erase_if(numbers, [&](std::int64_t number) {
      return static_cast<std::size_t>(sweep.trial(number).phase) != **state;
    });
  Json list = Json::array();
  const auto count = static_cast<std::int64_t>(numbers.size());
  const auto end = std::min(count, std::min(*from, count) + *limit);
  for (auto at = std::min(*from, count); at < end; ++at)
    list.push_back(trial_doc(sweep, numbers[static_cast<std::size_t>(at)]));
  return call.json({{"trials", std::move(list)}, {"next", end}, {"more", end < count}});
}

// ---- what is done to one ------------------------------------------------------------------------

/// @param done  the action, which was carried out
Reply shown_after(const RouteCall& call, const Result<Done>& done) {
  return done ? show_sweep(call) : Reply(call.error(done.error()));
}

Reply stop_sweep(const RouteCall& call) {
  const auto sweep = sweep_of(call);
  if (!sweep) return call.error(sweep.error());
  const auto body = body_of(call, {"now"});
  if (!body) return call.error(body.error());
  const auto now = field_of<bool>(*body, "now", false);
  if (!now) return call.error(now.error());
  const auto when = *now ? Sweeps::StopWhen::kNow : Sweeps::StopWhen::kNextRung;
  return shown_after(call, call.dispatcher.sweeps().stop(JobId((*sweep)->state.id), when, call.by()));
}

Reply pause_sweep(const RouteCall& call) {
  const auto sweep = sweep_of(call);
  if (!sweep) return call.error(sweep.error());
  return shown_after(call, call.dispatcher.sweeps().pause(JobId((*sweep)->state.id), call.by()));
}

Reply resume_sweep(const RouteCall& call) {
  const auto sweep = sweep_of(call);
  if (!sweep) return call.error(sweep.error());
  return shown_after(call, call.dispatcher.sweeps().resume(JobId((*sweep)->state.id), call.by()));
}

/// "sweep" and what was made beside it, or the error.
Reply shown_with(const RouteCall& call, JobId id, const char* name, Json made, http::status status) {
  const auto entry = call.dispatcher.sweeps().book().find(id);
  if (!entry) return call.error(entry.error());
  return call.json({{name, std::move(made)}, {"sweep", sweep_doc(**entry)}}, status);
}

Reply enqueue_trial(const RouteCall& call) {
  const auto sweep = sweep_of(call);
  if (!sweep) return call.error(sweep.error());
  const auto body = body_of(call, {"params", "trial"});
  if (!body) return call.error(body.error());
  const auto found = body->find("params");
  const Json params = found == body->end() || found->is_null() ? Json::object() : *found;
  if (!params.is_object())
    return call.error(fail(Errc::kInvalidArgument, "params: must be an object with parameters of the sweep"));
  const auto expected = field_of<std::int64_t>(*body, "trial", -1);
  if (!expected) return call.error(expected.error());
  const JobId id((*sweep)->state.id);
  const auto trial = call.dispatcher.sweeps().enqueue(id, params, *expected, call.by());
  return trial ? shown_with(call, id, "trial", *trial, http::status::created)
               : Reply(call.error(trial.error()));
}

Reply extend_sweep(const RouteCall& call) {
  const auto sweep = sweep_of(call);
  if (!sweep) return call.error(sweep.error());
  const auto body = body_of(call, {"trials"});
  if (!body) return call.error(body.error());
  const auto trials = field_of<std::int64_t>(*body, "trials", 0);
  if (!trials) return call.error(trials.error());
  return shown_after(call, call.dispatcher.sweeps().extend(JobId((*sweep)->state.id), *trials, call.by()));
}

/// The trials that a request names, each once; without names those that failed.
Result<std::vector<std::int64_t>> to_retry(const core::SweepState& sweep, const Json& body) {
  if (body.contains("trials")) {
    const auto& named = body.at("trials");
    if (!named.is_array()) return fail(Errc::kInvalidArgument, "trials: must be a list of numbers of trials");
    std::set<std::int64_t> once;
    for (const auto& one : named) {
      std::int64_t number = 0;
      if (auto read = proto::read_value(one, number); !read) return read.error().in("trials");
      once.insert(number);
    }
    return std::vector(once.begin(), once.end());
  }
  std::vector<std::int64_t> failed;
  for (std::size_t i = 0; i < sweep.trials.size(); ++i)
    if (sweep.trials[i].phase == core::TrialPhase::kFailed) failed.push_back(static_cast<std::int64_t>(i));
  return failed;
}

Reply retry_trials(const RouteCall& call) {
  const auto sweep = sweep_of(call);
  if (!sweep) return call.error(sweep.error());
  const auto body = body_of(call, {"trials"});
  if (!body) return call.error(body.error());
  const auto trials = to_retry((*sweep)->state, *body);
  if (!trials) return call.error(trials.error());
  const JobId id((*sweep)->state.id);
  const auto made = call.dispatcher.sweeps().retry(id, *trials, call.by());
  return made ? shown_with(call, id, "trials", *made, http::status::created)
              : Reply(call.error(made.error()));
}

Reply stop_trial(const RouteCall& call) {
  const auto sweep = sweep_of(call);
  if (!sweep) return call.error(sweep.error());
  const auto number = whole_number(call.arguments[1]);
  if (!number || *number < 0)
    return call.error(fail(Errc::kNotFound, "trial " + clipped(call.arguments[1], 64) + ": no such trial"));
  return shown_after(call,
                     call.dispatcher.sweeps().stop_trial(JobId((*sweep)->state.id), *number, call.by()));
}

}  // namespace

std::vector<Handler> sweep_routes() {
  return {
      {{http::verb::post, "/v1/sweeps"}, submit_sweep},
      {{http::verb::get, "/v1/sweeps"}, list_sweeps, {"state", "user", "limit", "before"}},
      {{http::verb::get, "/v1/sweeps/{id}"}, show_sweep},
      {{http::verb::get, "/v1/sweeps/{id}/trials"}, list_trials, {"order", "state", "from", "limit"}},
      {{http::verb::post, "/v1/sweeps/{id}/stop"}, stop_sweep},
      {{http::verb::post, "/v1/sweeps/{id}/pause"}, pause_sweep},
      {{http::verb::post, "/v1/sweeps/{id}/resume"}, resume_sweep},
      {{http::verb::post, "/v1/sweeps/{id}/extend"}, extend_sweep},
      {{http::verb::post, "/v1/sweeps/{id}/retry"}, retry_trials},
      {{http::verb::post, "/v1/sweeps/{id}/trials"}, enqueue_trial},
      {{http::verb::post, "/v1/sweeps/{id}/trials/{trial}/stop"}, stop_trial},
  };
}

}  // namespace rtrain::head
