// /v1/prune: jobs that ended are forgotten before retention does it.
#include "daemon/head/api/route_call.h"

namespace rtrain::head {
namespace {

constexpr double kOlderMaxS = 1e10;  // some 300 years
constexpr std::int64_t kKeepMax = 1'000'000'000'000'000;
constexpr int kAbsent = -1;

Reply prune(const RouteCall& call) {
  const auto body = body_of(call, {"older_than_s", "keep", "dry_run"});
  if (!body) return call.error(body.error());
  const auto older = field_of<double>(*body, "older_than_s", kAbsent);
  if (!older) return call.error(older.error());
  const auto keep = field_of<std::int64_t>(*body, "keep", kAbsent);
  if (!keep) return call.error(keep.error());
  const auto given = [&](const char* name) { return body->contains(name) && !body->at(name).is_null(); };
  const auto dry_run = field_of<bool>(*body, "dry_run", false);
  if (!dry_run) return call.error(dry_run.error());
  PruneJobs reply;
  reply.request.dry_run = *dry_run;
  if (!given("older_than_s") && !given("keep"))
    return call.error(fail(Errc::kInvalidArgument, "a prune needs older_than_s or keep, or both",
                           "{\"older_than_s\": 604800} removes jobs that ended a week ago or earlier"));
  if (given("older_than_s") && !(*older >= 0 && *older <= kOlderMaxS))
    return call.error(
        fail(Errc::kInvalidArgument, "older_than_s must be a number of seconds from 0 to 1e10"));
  if (given("keep") && (*keep < 0 || *keep > kKeepMax))
    return call.error(fail(Errc::kInvalidArgument, "keep must be a whole number from 0 to 1e15"));
  if (given("older_than_s"))
    reply.request.ended_before_ms =
        call.dispatcher.context().wall() - static_cast<proto::UnixMs>(*older * 1000);
  if (given("keep")) reply.request.keep_jobs = *keep;
  reply.by = call.by();
  return reply;
}

}  // namespace

std::vector<Handler> prune_routes() { return {{{http::verb::post, "/v1/prune"}, prune}}; }

}  // namespace rtrain::head
