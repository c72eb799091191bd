// /v1/jobs, but for the list of them, and /v1/plan.
#include "daemon/head/documents.h"
#include "daemon/head/route_call.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace rtrain::head {
namespace {

using proto::Json;

constexpr std::int64_t kMetricsMax = 10'000, kEventsDefault = 1000, kEventsMax = 10'000;
constexpr const char* kHidden = "***";

/// "12", or "12_3": index 3 of array 12.
Result<const JobRecord*> job_of(const RouteCall& call) {
  const auto& text = call.arguments[0];
  const char* const text_end = text.data() + text.size();
  std::int64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text_end, number);
  const JobRecord* record = ec == std::errc{} && end == text_end ? call.dispatcher.jobs().find(JobId(number)) : nullptr;
  if (ec == std::errc{} && end != text_end && *end == '_') {
    int index = 0;
    const auto [index_end, index_ec] = std::from_chars(end + 1, text_end, index);
    if (index_ec == std::errc{} && index_end == text_end)
      if (const auto id = call.dispatcher.member(JobId(number), index)) record = call.dispatcher.jobs().find(*id);
  }
  if (record == nullptr) return fail(Errc::kNotFound, "job " + text + ": no such job", "rtrain list shows the jobs");
  return record;
}

/// The spec in the body, valid and with absolute paths, or the answer that refuses it.
std::variant<proto::JobSpec, HttpResponse> spec_of(const RouteCall& call) {
  auto reading = proto::read_job_spec(std::string_view(call.request.body()));
  if (reading.ok()) reading.errors = proto::check_resolved(reading.spec);
  if (reading.ok()) return std::move(reading.spec);
  proto::ErrorDoc doc{std::string(to_string(Errc::kInvalidArgument)),
                      "the job file has " + std::to_string(reading.errors.size()) + (reading.errors.size() == 1 ? " error" : " errors"),
                      "rtrain validate job.json shows them with their places", std::move(reading.errors)};
  return error_response(doc, http::status::bad_request, call.request);
}

Reply submit(const RouteCall& call) {
  auto spec = spec_of(call);
  if (auto* refusal = std::get_if<HttpResponse>(&spec)) return std::move(*refusal);
  auto id = call.dispatcher.submit(std::move(std::get<proto::JobSpec>(spec)), call.user);
  if (!id) return call.error(id.error());
  const auto& state = call.dispatcher.jobs().find(*id)->state;
  return call.json(proto::SubmitReply{*id, state.spec.name, state.run_dir, state.array ? state.array->count : 1}, http::status::created);
}

Reply plan(const RouteCall& call) {
  auto spec = spec_of(call);
  if (auto* refusal = std::get_if<HttpResponse>(&spec)) return std::move(*refusal);
  return call.json(plan_doc(call.dispatcher.plan(std::get<proto::JobSpec>(spec))));
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
  const auto from = query_number(call.target, "from", 0), tail = query_number(call.target, "tail", 0), limit = query_number(call.target, "limit", kMetricsMax);
  for (const auto* number : {&from, &tail, &limit})
    if (!*number) return call.error(number->error());
  if (*from < 0 || *tail < 0 || *limit < 1 || *limit > kMetricsMax)
    return call.error(fail(Errc::kInvalidArgument, "from and tail must not be negative, limit is from 1 to 10000"));
  const JobRecord& record = **found;
  Json points = Json::array();
  std::int64_t next = *tail > 0 ? std::max<std::int64_t>(0, record.state.reports - *tail) : *from;
  if (next < record.metrics_dropped) {
    auto page = call.dispatcher.jobs().history().metrics(record.state.id, next, static_cast<int>(std::min(*limit, record.metrics_dropped - next)));
    if (!page) return call.error(page.error());
    for (const auto& point : page->points) points.push_back(point);
    next += static_cast<std::int64_t>(page->points.size());
  }
  for (; next >= record.metrics_dropped && next < record.state.reports && static_cast<std::int64_t>(points.size()) < *limit; ++next)
    points.push_back(record.metrics[static_cast<std::size_t>(next - record.metrics_dropped)]);
  return call.json({{"points", std::move(points)}, {"next", next}, {"more", next < record.state.reports}});
}

/// Values in an environment are secrets more often than not: an event has their names only, until who submitted the job asks for them.
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
  const auto from = query_number(call.target, "from", 0), limit = query_number(call.target, "limit", kEventsDefault);
  for (const auto* number : {&from, &limit})
    if (!*number) return call.error(number->error());
  if (*from < 0 || *limit < 1 || *limit > kEventsMax)
    return call.error(fail(Errc::kInvalidArgument, "from must not be negative, limit is from 1 to " + std::to_string(kEventsMax)));
  const auto asked = call.target.query.find("env");
  const bool show = asked != call.target.query.end() && asked->second == "true";
  if (show && call.user != (*found)->state.user)
    return call.error(fail(Errc::kUnauthenticated, "the environment of a job is shown to who submitted it: " + ((*found)->state.user.empty() ? "unknown" : (*found)->state.user)));
  auto page = call.dispatcher.jobs().history().events((*found)->state.id, *from, static_cast<int>(*limit) + 1);  // one more tells whether there is more
  if (!page) return call.error(page.error());
  const bool more = std::cmp_greater(page->size(), *limit);
  if (more) page->pop_back();
  Json list = Json::array();
  for (const auto& event : *page) {
    auto& json = list.emplace_back(proto::to_json(event));
    json["at"] = proto::rfc3339(event.at);
    if (!show) hide_values(json);
  }
  return call.json({{"events", std::move(list)}, {"next", *from + static_cast<std::int64_t>(page->size())}, {"more", more}});
}

Reply logs(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  const auto& state = (*record)->state;
  const auto rank = query_number(call.target, "rank", 0);
  const auto attempt = query_number(call.target, "attempt", state.attempt.value());
  const auto offset = query_number(call.target, "offset", 0);
  const auto tail = query_number(call.target, "tail", 0);
  const auto limit = query_number(call.target, "limit", 65536);
  for (const auto* number : {&rank, &attempt, &offset, &tail, &limit})
    if (!*number) return call.error(number->error());
  if (state.attempt.value() == 0) return call.error(fail(Errc::kConflict, "job " + to_string(state.id) + " has not started yet, there is no log"));
  const auto nodes = state.nodes.find(Attempt(*attempt));
  if (nodes == state.nodes.end())
    return call.error(
        fail(Errc::kNotFound, "job " + to_string(state.id) + " has no attempt " + std::to_string(*attempt) + " any log of which is known"));
  if (*rank < 0 || *rank >= static_cast<std::int64_t>(nodes->second.size()))
    return call.error(fail(Errc::kNotFound, "job " + to_string(state.id) + " has no rank " + std::to_string(*rank)));
  if (*offset < 0 || *tail < 0 || *limit < 1 || *limit > 1 << 20)
    return call.error(fail(Errc::kInvalidArgument, "offset and tail must not be negative, limit is from 1 to 1048576"));
  proto::LogRead read;
  read.key = {state.id, Attempt(*attempt), static_cast<int>(*rank)};
  read.offset = *tail > 0 ? -*tail : *offset;
  read.bytes_max = *limit;
  return ReadLog{nodes->second[static_cast<std::size_t>(*rank)], read};
}

Reply stream(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  const auto rank = query_number(call.target, "rank", -1);
  if (!rank) return call.error(rank.error());
  if (*rank < -1 || *rank > std::numeric_limits<int>::max()) return call.error(fail(Errc::kInvalidArgument, "rank is a rank's number"));
  const auto wanted = call.target.query.find("logs");
  const auto last = call.request["Last-Event-ID"];
  auto from = proto::parse_stream_position({last.data(), last.size()});
  if (!from) return call.error(from.error().in("Last-Event-ID"));
  return FollowJob{(*record)->state.id, wanted != call.target.query.end() && (wanted->second == "true" || wanted->second == "1"),
                   static_cast<int>(*rank), std::move(*from)};
}

Reply cancel(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  if (auto done = call.dispatcher.cancel((*record)->state.id, call.by()); !done) return call.error(done.error());
  return call.json(call.doc(**record));
}

Reply hold(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  if (auto done = call.dispatcher.hold((*record)->state.id, call.by()); !done) return call.error(done.error());
  return call.json(call.doc(**record));
}

Reply release(const RouteCall& call) {
  const auto record = job_of(call);
  if (!record) return call.error(record.error());
  if (auto done = call.dispatcher.release((*record)->state.id, call.by()); !done) return call.error(done.error());
  return call.json(call.doc(**record));
}

}  // namespace

std::vector<Handler> job_routes() {
  return {
      {{http::verb::post, "/v1/jobs"}, submit},
      {{http::verb::post, "/v1/plan"}, plan},
      {{http::verb::get, "/v1/jobs/{id}"}, show},
      {{http::verb::get, "/v1/jobs/{id}/result"}, result},
      {{http::verb::get, "/v1/jobs/{id}/metrics"}, metrics},
      {{http::verb::get, "/v1/jobs/{id}/events"}, events},
      {{http::verb::get, "/v1/jobs/{id}/logs"}, logs},
      {{http::verb::get, "/v1/jobs/{id}/stream"}, stream},
      {{http::verb::post, "/v1/jobs/{id}/cancel"}, cancel},
      {{http::verb::post, "/v1/jobs/{id}/hold"}, hold},
      {{http::verb::post, "/v1/jobs/{id}/release"}, release},
  };
}

}  // namespace rtrain::head
