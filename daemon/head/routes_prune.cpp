// /v1/prune: jobs that ended are forgotten before retention does it.
#include "daemon/head/route_call.h"

namespace rtrain::head {
namespace {

constexpr double kSecondsMax = 1e10;  // some 300 years

Reply prune(const RouteCall& call) {
  const auto body = body_of(call, {"older_than_s", "keep", "dry_run"});
  if (!body) return call.error(body.error());
  const auto older = field_of<proto::Json>(*body, "older_than_s", nullptr);
  if (!older) return call.error(older.error());
  const auto keep = field_of<proto::Json>(*body, "keep", nullptr);
  if (!keep) return call.error(keep.error());
  const auto dry_run = field_of<bool>(*body, "dry_run", false);
  if (!dry_run) return call.error(dry_run.error());
  PruneJobs reply;
  reply.request.dry_run = *dry_run;
  if (older->is_null() && keep->is_null())
    return call.error(fail(Errc::kInvalidArgument, "a prune needs older_than_s or keep, or both",
                           "{\"older_than_s\": 604800} removes jobs that ended a week ago or earlier"));
  if (!older->is_null() && (!older->is_number() || older->get<double>() < 0 || older->get<double>() > kSecondsMax))
    return call.error(fail(Errc::kInvalidArgument, "older_than_s must be a number of seconds from 0 to 1e10"));
  if (!keep->is_null() && (!keep->is_number_integer() || keep->get<double>() < 0 || keep->get<double>() > 1e15))
    return call.error(fail(Errc::kInvalidArgument, "keep must be a whole number from 0 to 1e15"));
  if (!older->is_null()) reply.request.ended_before_ms = call.dispatcher.wall() - static_cast<proto::UnixMs>(older->get<double>() * 1000);
  if (!keep->is_null()) reply.request.keep_jobs = keep->get<std::int64_t>();
  reply.by = call.by();
  return reply;
}

}  // namespace

std::vector<Handler> prune_routes() {
  return {{{http::verb::post, "/v1/prune"}, prune}};
}

}  // namespace rtrain::head
