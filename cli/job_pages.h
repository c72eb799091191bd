// GET /v1/jobs to its end: the head answers a page at a time.
#pragma once

#include "cli/client.h"

#include <functional>

namespace rtrain::cli {

/// A GET of the head; a test gives its own.
using Get = std::function<Result<proto::Json>(const std::string& target)>;
[[nodiscard]] Get get_of(const Client& client);

/// Which jobs: "state=RUNNING&user=ann"; "" all. At most `limit`, of the newest.
struct JobQuery {
  std::string filter;
  std::optional<std::int64_t> limit = {};
};
/// Newest first; a page may be empty. An error ends it.
using TakeJobs = std::function<Result<Done>(proto::Json jobs)>;
/// The error of `take`, of a request, or kProtocol where a page does not lead on. What was taken by then is
/// part of the jobs.
[[nodiscard]] Result<Done> read_jobs(const Get& get, const JobQuery& query, const TakeJobs& take);

}  // namespace rtrain::cli
