// /v1/jobs, but for the list of them, and /v1/plan.
#include "common/base/clip.h"
#include "daemon/head/api/documents.h"
#include "daemon/head/api/route_call.h"

#include <algorithm>

namespace rtrain::head {
namespace {

using proto::Json;

constexpr std::int64_t kMetricsMax = 10'000, kEventsDefault = 1000, kEventsMax = 10'000, kRankMax = 1'000'000;
constexpr const char* kHidden = "***";

/// "12", or "12_3": index 3 of array 12.
Result<const JobRecord*> job_of(const RouteCall& call) {
  const std::string_view text = call.arguments[0];
  const auto underscore = text.find('_');
  const auto number = whole_number(text.substr(0, underscore));
  const auto index = underscore == text.npos ? std::nullopt : whole_number(text.substr(underscore + 1));
  const JobRecord* record = nullptr;
  if (number && underscore == text.npos) record = call.dispatcher.jobs().find(JobId(*number));
  if (number && index && *index >= 0 && *index <= proto::kArrayIndexMax)
    if (const auto id = call.dispatcher.commands().member(JobId(*number), static_cast<int>(*index)))
      record = call.dispatcher.jobs().find(*id);
  if (record != nullptr) return record;
  if (number && *number > 0)
    if (const auto* aside = call.dispatcher.start_report().find(JobId(*number)))
      return fail(Errc::kConflict,
                  "job " + to_string(JobId(*number)) +
                      " was set aside when the head started, its record cannot be read: " + aside->why,
                  "stop the head; rtraind fsck and rtraind recover of its state_dir help");
  return fail(Errc::kNotFound, "job " + clipped(text, 64) + ": no such job", "rtrain list shows the jobs");
}

/// Answers a request whose body is a spec. `use` gives the answer to a good one.
template <class Use>
Reply with_spec(const RouteCall& call, Use use) {
  const auto answer = [&request = call.request, use = std::move(use)](CheckedSpec checked) {
    if (auto* refusal = std::get_if<SpecRefusal>(&checked))
      return error_response(refusal->doc, refusal->status, request);
    return use(std::get<proto::JobSpec>(std::move(checked)));
  };
  if (call.request.body().size() > kSpecBytesAtOnce) return ReadSpec{answer};
  return answer(check_spec(call.request.body()));
}

Reply submit(const RouteCall& call) {
  auto sent_key = idempotency_key(call.request);
  if (!sent_key) return call.error(sent_key.error());
  return with_spec(call, [&dispatcher = call.dispatcher, &request = call.request, user = call.user,
                          key = std::move(*sent_key)](proto::JobSpec spec) {
    auto id = dispatcher.commands().submit(std::move(spec), user, key);
    if (!id) return error_response(id.error(), request);
    const auto& state = dispatcher.jobs().find(*id)->state;
    return json_response(
        http::status::created,
        proto::SubmitReply{*id, state.spec->name, state.run_dir, state.array ? state.array->count : 1},
        request);
  });
}

Reply plan(const RouteCall& call) {
  return with_spec(
      call, [&dispatcher = call.dispatcher, &request = call.request](const proto::JobSpec& spec) {
        return json_response(http::status::ok, plan_doc(dispatcher.scheduling().plan(spec)), request);
      });
}

Reply show(const RouteCall& call) {
  const auto record = job_of(call);
  return record ? call.json(call.doc(**record)) : call.error(record.error());
}

Reply result(const RouteCall& call) {
  const auto record = job_of(call);
  return record ? call.json(result_doc(**record)) : call.error(record.error());
}

Reply metrics(const RouteCall& call) {
  const auto found = job_of(call);
  if (!found) return call.error(found.error());
  const auto from = query_number(call.target, "from", 0, 0), tail = query_number(call.target, "tail", 0, 0),
             limit = query_number(call.target, "limit", kMetricsMax, 1, kMetricsMax);
  for (const auto* number : {&from, &tail, &limit})
    if (!*number) return call.error(number->error());
  const JobRecord& record = **found;
  Json points = Json::array();
  std::int64_t next = *tail > 0 ? std::max<std::int64_t>(0, record.state.reports - *tail) : *from;
  if (next < record.metrics_dropped) {
    auto page = call.dispatcher.jobs().history().metrics(
        record.state.id, next, static_cast<int>(std::min(*limit, record.metrics_dropped - next)));
    if (!page) return call.error(page.error());
    for (const auto& point : page->points) points.push_back(point);
    next += static_cast<std::int64_t>(page->points.size());
  }
  for (; next >= record.metrics_dropped && next < record.state.reports &&
         static_cast<std::int64_t>(points.size()) < *limit;
       ++next)
    points.push_back(record.metrics[static_cast<std::size_t>(next - record.metrics_dropped)]);
  return call.json({{"points", std::move(points)}, {"next", next}, {"more", next < record.state.reports}});
}

/// Values in an environment are secrets more often than not: an event has their names only, until who
/// submitted the job asks for them.
void hide_values(Json& event) {
  const auto spec = event.find("spec");
  if (spec == event.end() || !spec->is_object()) return;
  const auto env = spec->find("env");
  if (env == spec->end() || !env->is_object()) return;
  for (auto& [name, value] : env->items()) value = kHidden;
}

Reply events(const RouteCall& call) {
  const auto found = job_of(call);
  if (!found) return call.error(found.error());
  const auto from = query_number(call.target, "from", 0, 0),
             limit = query_number(call.target, "limit", kEventsDefault, 1, kEventsMax);
  for (const auto* number : {&from, &limit})
    if (!*number) return call.error(number->error());
  const auto shown = query_choice(call.target, "env", {"false", "true"});
  if (!shown) return call.error(shown.error());
  const bool show = shown->value_or(0) == 1;
  if (show && call.user != (*found)->state.user)
    return call.error(
        fail(Errc::kUnauthenticated, "the environment of a job is shown to who submitted it: " +
                                         ((*found)->state.user.empty() ? "unknown" : (*found)->state.user)));
  // one more tells whether there is more
  auto page =
      call.dispatcher.jobs().history().events((*found)->state.id, *from, static_cast<int>(*limit) + 1);
  if (!page) return call.error(page.error());
  const bool more = std::cmp_greater(page->size(), *limit);
  if (more) page->pop_back();
  Json list = Json::array();
  for (auto& event : *page) {
    if (auto* submitted = std::get_if<proto::JobSubmitted>(&event.event))
      submitted->spec = core::spec_of_rank((*found)->state);
    auto& json = list.emplace_back(proto::to_json(event));
    json["at"] = proto::rfc3339(event.at);
    if (!show) hide_values(json);
  }
  return call.json({{"events", std::move(list)},
                    {"next", *from + static_cast<std::int64_t>(page->size())},
                    {"more", more}});
}

Reply logs(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  const auto& state = (*record)->state;
  const auto rank = query_number(call.target, "rank", 0, 0, kRankMax);
  const auto attempt = query_number(call.target, "attempt", state.attempt.value(), 1);
  const auto offset = query_number(call.target, "offset", 0, 0);
  const auto tail = query_number(call.target, "tail", 0, 0);
  const auto limit = query_number(call.target, "limit", 65536, 1, 1 << 20);
  for (const auto* number : {&rank, &attempt, &offset, &tail, &limit})
    if (!*number) return call.error(number->error());
  if (state.attempt.value() == 0)
    return call.error(
        fail(Errc::kConflict, "job " + core::name_of(state) + " has not started yet, there is no log"));
  const auto nodes = state.nodes.find(Attempt(*attempt));
  if (nodes == state.nodes.end())
    return call.error(fail(Errc::kNotFound, "job " + core::name_of(state) + " has no attempt " +
                                                std::to_string(*attempt) + " any log of which is known"));
  if (*rank >= static_cast<std::int64_t>(nodes->second.size()))
    return call.error(
        fail(Errc::kNotFound, "job " + core::name_of(state) + " has no rank " + std::to_string(*rank)));
  proto::LogRead read;
  read.key = {state.id, Attempt(*attempt), static_cast<int>(*rank)};
  read.offset = *tail > 0 ? -*tail : *offset;
  read.bytes_max = *limit;
  return ReadLog{nodes->second[static_cast<std::size_t>(*rank)], read};
}

Reply stream(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  const auto rank = query_number(call.target, "rank", -1, 0, kRankMax);
  if (!rank) return call.error(rank.error());
  const auto logs = query_choice(call.target, "logs", {"false", "true", "0", "1"});
  if (!logs) return call.error(logs.error());
  if (const int ranks = (*record)->state.spec->scaling_config.num_workers; *rank >= ranks)
    return call.error(fail(Errc::kNotFound, "job " + core::name_of((*record)->state) + " has no rank " +
                                                std::to_string(*rank) + ", it has " + std::to_string(ranks)));
  const auto last = call.request["Last-Event-ID"];
  auto from = proto::parse_stream_position({last.data(), last.size()});
  if (!from) return call.error(from.error().in("Last-Event-ID"));
  return FollowJob{(*record)->state.id, logs->value_or(0) % 2 == 1, static_cast<int>(*rank),
                   std::move(*from)};
}

Reply cancel(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  if (auto done = call.dispatcher.commands().cancel((*record)->state.id, call.by()); !done)
    return call.error(done.error());
  return call.json(call.doc(**record));
}

/// The ranks of a profile or a diagnosis: a list of numbers, or "all", which is none here.
Result<std::vector<int>> named_ranks(const Json& body, std::vector<int> without) {
  const auto found = body.find("ranks");
  if (found == body.end() || found->is_null()) return without;
  if (*found == "all") return std::vector<int>{};
  constexpr std::size_t kListedMax = 1024;
  const Error odd = fail(Errc::kInvalidArgument, "ranks: expected \"all\" or a list of 1 to " +
                                                     std::to_string(kListedMax) + " ranks");
  if (!found->is_array() || found->empty() || found->size() > kListedMax) return odd;
  std::vector<int> ranks;
  for (const auto& item : *found) {
    std::int64_t rank = 0;
    if (!proto::read_value(item, rank) || rank < 0 || rank > kRankMax) return odd;
    ranks.push_back(static_cast<int>(rank));
  }
  return ranks;
}

Reply profile(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  const auto body = body_of(call, {"steps", "ranks", "timeout_s"});
  if (!body) return call.error(body.error());
  ProfileRequest request;
  const auto steps = field_of<std::int64_t>(*body, "steps", request.steps);
  if (!steps) return call.error(steps.error());
  const auto timeout_s = field_of<double>(*body, "timeout_s", request.timeout_s);
  if (!timeout_s) return call.error(timeout_s.error());
  auto ranks = named_ranks(*body, {0});
  if (!ranks) return call.error(ranks.error());
  if (*steps < 1 || *steps > kProfileStepsMax)
    return call.error(
        fail(Errc::kInvalidArgument,
             "steps: is " + std::to_string(*steps) + ", expected 1 to " + std::to_string(kProfileStepsMax)));
  if (!(*timeout_s >= 1 && *timeout_s <= kProfileTimeoutMax))
    return call.error(fail(Errc::kInvalidArgument, "timeout_s: expected 1 to 86400 seconds"));
  request = {*steps, std::move(*ranks), *timeout_s};
  const auto asked = call.dispatcher.profiling().ask((*record)->state.id, request, call.by());
  return asked ? Reply(call.json(*asked, http::status::accepted)) : Reply(call.error(asked.error()));
}

Reply show_profile(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  const auto doc = call.dispatcher.profiling().look((*record)->state.id);
  return doc ? call.json(*doc) : call.error(doc.error());
}

Reply debug(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  const auto body = body_of(call, {"ranks", "timeout_s"});
  if (!body) return call.error(body.error());
  DebugRequest request;
  const auto timeout_s = field_of<double>(*body, "timeout_s", request.timeout_s);
  if (!timeout_s) return call.error(timeout_s.error());
  auto ranks = named_ranks(*body, {});
  if (!ranks) return call.error(ranks.error());
  if (!(*timeout_s >= 1 && *timeout_s <= kDebugTimeoutMax))
    return call.error(fail(Errc::kInvalidArgument, "timeout_s: expected 1 to 300 seconds"));
  request = {std::move(*ranks), *timeout_s};
  const auto asked = call.dispatcher.debugging().ask((*record)->state, request, call.by());
  return asked ? Reply(call.json(*asked, http::status::accepted)) : Reply(call.error(asked.error()));
}

Reply show_debug(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  const auto doc = call.dispatcher.debugging().look((*record)->state);
  return doc ? call.json(*doc) : call.error(doc.error());
}

Reply hold(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  if (auto done = call.dispatcher.commands().hold((*record)->state.id, call.by()); !done)
    return call.error(done.error());
  return call.json(call.doc(**record));
}

Reply release(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  if (auto done = call.dispatcher.commands().release((*record)->state.id, call.by()); !done)
    return call.error(done.error());
  return call.json(call.doc(**record));
}

}  // namespace

std::vector<Handler> job_routes() {
  return {
      {{http::verb::post, "/v1/jobs"}, submit},
      {{http::verb::post, "/v1/plan"}, plan},
      {{http::verb::get, "/v1/jobs/{id}"}, show},
      {{http::verb::get, "/v1/jobs/{id}/result"}, result},
      {{http::verb::get, "/v1/jobs/{id}/metrics"}, metrics, {"from", "tail", "limit"}},
      {{http::verb::get, "/v1/jobs/{id}/events"}, events, {"from", "limit", "env"}},
      {{http::verb::get, "/v1/jobs/{id}/logs"}, logs, {"rank", "attempt", "offset", "tail", "limit"}},
      {{http::verb::get, "/v1/jobs/{id}/stream"}, stream, {"logs", "rank"}},
      {{http::verb::post, "/v1/jobs/{id}/cancel"}, cancel},
      {{http::verb::post, "/v1/jobs/{id}/profile"}, profile},
      {{http::verb::get, "/v1/jobs/{id}/profile"}, show_profile},
      {{http::verb::post, "/v1/jobs/{id}/debug"}, debug},
      {{http::verb::get, "/v1/jobs/{id}/debug"}, show_debug},
      {{http::verb::post, "/v1/jobs/{id}/hold"}, hold},
      {{http::verb::post, "/v1/jobs/{id}/release"}, release},
  };
}

}  // namespace rtrain::head
