#include "daemon/head/attempts/yield.h"

#include "common/log/log.h"

namespace rtrain::head {

Result<Done> request_yield(HeadContext& context, Turn& turn, JobId id, proto::YieldCause cause,
                           const std::string& reason, double grace_s) {
  const auto* record = context.book.find(id);
  if (record == nullptr)
    return fail(Errc::kNotFound, "job " + to_string(id) + ": no such job", "rtrain list shows the jobs");
  auto done = turn.apply(id, core::yield_requested(record->state, cause, reason, grace_s));
  if (done)
    log::info("job asked to yield",
              {{"job", to_string(id)}, {"cause", std::string(to_string(cause))}, {"reason", reason}});
  return done;
}

}  // namespace rtrain::head
