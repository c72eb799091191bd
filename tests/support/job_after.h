// A job's state machine, driven through events.
#pragma once

#include "daemon/core/job.h"
#include "tests/support/catch.h"
#include "tests/support/jobs.h"

#include <optional>
#include <utility>
#include <vector>

namespace rtrain::test {

/// Job 7 of `spec` after `events`, each with what follows from it by policy.
inline core::JobState job_after(proto::JobSpec spec, const std::vector<proto::JobEvent>& events) {
  auto state = core::submitted(JobId(7), 1000,
                               proto::JobSubmitted{std::move(spec), "job_7", "/runs/job_7", "ann", {}});
  proto::UnixMs at = 1000;
  for (const auto& event : events)
    for (std::optional<proto::JobEvent> next = event; next; next = core::follow_up(state)) {
      const auto done = core::advance(state, {at += 10, *next});
      INFO(proto::event_name(*next) << ": " << (done.has_value() ? "" : done.error().message()));
      REQUIRE(done.has_value());
    }
  return state;
}

}  // namespace rtrain::test
