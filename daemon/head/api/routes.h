// The routes of the user API and what each answers. Long answers (streams) are left to the server.
#pragma once

#include "daemon/head/api/checked_spec.h"
#include "daemon/head/api/http.h"
#include "daemon/head/dispatcher.h"
#include "proto/api/stream_position.h"

#include <functional>
#include <variant>

namespace rtrain::head {

/// What the server has to do with a request.
struct ReadLog {
  std::string node;
  proto::LogRead read;
};  ///< ask the agent, answer with the text
/// Server-sent events; rank -1: all. `from`: what a stream that broke has told already.
struct FollowJob {
  JobId id;
  bool logs = false;
  int rank = -1;
  proto::StreamPosition from;
};
/// forget jobs, answer when they are gone
struct PruneJobs {
  store::PruneRequest request;
  std::string by;
};
/// check_spec() of the body on another thread, then this on the head's. It refers to the request.
struct ReadSpec {
  std::function<HttpResponse(CheckedSpec)> answer;
};
using Reply = std::variant<HttpResponse, ReadLog, FollowJob, PruneJobs, ReadSpec>;

/// Every route with its method, for the 405 answer and the test that asks each one without a token.
struct Route {
  http::verb method;
  const char* pattern;
};
[[nodiscard]] const std::vector<Route>& routes();

/// Answers an authorized request. Never throws.
[[nodiscard]] Reply answer(Dispatcher& dispatcher, const HttpRequest& request);
/// True for what needs no token: /healthz.
[[nodiscard]] bool is_public(const HttpRequest& request);

}  // namespace rtrain::head
