// What the files of routes share: a request on its way to a handler, and the table that each file adds.
// Private to routes*.cpp.
#pragma once

#include "daemon/head/api/documents.h"
#include "daemon/head/api/routes.h"

namespace rtrain::head {

struct RouteCall {
  Dispatcher& dispatcher;
  const HttpRequest& request;
  const Target& target;
  std::vector<std::string> arguments;  ///< what stood at {id}, {name}
  std::string user;                    ///< who asks; "" unknown

  [[nodiscard]] HttpResponse json(const proto::Json& body, http::status status = http::status::ok) const {
    return json_response(status, body, request);
  }
  [[nodiscard]] std::string by() const { return user.empty() ? "a user" : user; }
  [[nodiscard]] proto::JobDoc doc(const JobRecord& record) const {
    return job_doc(record, dispatcher.scheduling().waiting(record.state.id));
  }
  [[nodiscard]] HttpResponse error(const Error& error) const { return error_response(error, request); }
};

/// `query`: the parameters that the route knows; any other is refused.
struct Handler {
  Route route;
  Reply (*handle)(const RouteCall&);
  std::vector<std::string> query = {};
};

/// Larger than anything that a person writes; job files have a limit of their own.
inline constexpr std::size_t kBodyBytesMax = 64u << 10;
/// The body as an object; an empty body is {}. kInvalidArgument names a key that is not among `known`, kLimit
/// the size.
[[nodiscard]] Result<proto::Json> body_of(const RouteCall& call, const std::vector<std::string>& known);
/// A field of it; `fallback` when it is not there or null. Nothing is converted: 3.7 and true are no whole
/// numbers. kInvalidArgument names the field.
template <class T>
[[nodiscard]] Result<T> field_of(const proto::Json& body, const char* name, T fallback) {
  const auto found = body.find(name);
  if (found == body.end() || found->is_null()) return fallback;
  T value{};
  if (auto done = proto::read_value(*found, value); !done) return done.error().in(name);
  return value;
}

/// The Idempotency-Key of a submit; "" without one. kInvalidArgument: it is too long, or no visible ASCII.
[[nodiscard]] Result<std::string> idempotency_key(const HttpRequest& request);

/// Of one resource each, in the file of that name.
[[nodiscard]] std::vector<Handler> job_routes();
[[nodiscard]] std::vector<Handler> list_routes();
[[nodiscard]] std::vector<Handler> array_routes();
[[nodiscard]] std::vector<Handler> queue_routes();
[[nodiscard]] std::vector<Handler> status_routes();
[[nodiscard]] std::vector<Handler> node_routes();
[[nodiscard]] std::vector<Handler> reservation_routes();
[[nodiscard]] std::vector<Handler> prune_routes();
[[nodiscard]] std::vector<Handler> sweep_routes();

}  // namespace rtrain::head
