#include "daemon/head/api/routes.h"

#include "common/base/clip.h"
#include "daemon/head/api/request_user.h"
#include "daemon/head/api/route_call.h"

#include <algorithm>

namespace rtrain::head {
namespace {

Reply health(const RouteCall& call) {
  const auto health = call.dispatcher.context().health();
  return health.writable ? call.json({{"status", "ok"}})
                         : call.json({{"status", "read_only"}, {"reason", health.why}});
}

Reply version(const RouteCall& call) {
  return call.json(proto::VersionDoc{RTRAIN_VERSION, RTRAIN_COMMIT, proto::kProtocolVersion});
}

const std::vector<Handler>& handlers() {
  static const std::vector<Handler> kHandlers = [] {
    std::vector<Handler> all{
        {{http::verb::get, "/healthz"}, health},
        {{http::verb::get, "/v1/version"}, version},
    };
    for (const auto& resource : {job_routes(), list_routes(), array_routes(), queue_routes(), status_routes(),
                                 node_routes(), reservation_routes(), prune_routes(), sweep_routes()})
      all.insert(all.end(), resource.begin(), resource.end());
    return all;
  }();
  return kHandlers;
}

/// The arguments when `path` has the shape of `pattern`.
std::optional<std::vector<std::string>> match(const char* pattern, const std::vector<std::string>& path) {
  const auto wanted = parse_target(pattern);
  if (!wanted || wanted->path.size() != path.size()) return std::nullopt;
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (wanted->path[i].starts_with('{'))
      arguments.push_back(path[i]);
    else if (wanted->path[i] != path[i])
      return std::nullopt;
  }
  return arguments;
}

Result<Done> check_query(const Target& target, const std::vector<std::string>& known) {
  for (const auto& [name, value] : target.query) {
    if (std::ranges::find(known, name) != known.end()) continue;
    const auto near = proto::nearest(name, known);
    return fail(Errc::kInvalidArgument, clipped(name, 64) + ": unknown parameter" +
                                            (near.empty() ? "" : "; did you mean " + near + "?"));
  }
  return ok();
}

std::string_view target_of(const HttpRequest& request) {
  return {request.target().data(), request.target().size()};
}

}  // namespace

const std::vector<Route>& routes() {
  static const std::vector<Route> kRoutes = [] {
    std::vector<Route> list;
    for (const auto& handler : handlers()) list.push_back(handler.route);
    return list;
  }();
  return kRoutes;
}

Result<proto::Json> body_of(const RouteCall& call, const std::vector<std::string>& known) {
  if (call.request.body().empty()) return proto::Json::object();
  if (const auto bytes = call.request.body().size(); bytes > kBodyBytesMax)
    return fail(Errc::kLimit, "the body has " + std::to_string(bytes) + " bytes; at most " +
                                  std::to_string(kBodyBytesMax) + " are read here");
  auto body = proto::parse_json(call.request.body());
  if (!body) return body.error().in("the body");
  if (!body->is_object()) return fail(Errc::kInvalidArgument, "the body must be a JSON object");
  for (const auto& [key, value] : body->items())
    if (std::ranges::find(known, key) == known.end()) {
      const auto near = proto::nearest(key, known);
      return fail(Errc::kInvalidArgument,
                  clipped(key, 64) + ": unknown key" + (near.empty() ? "" : "; did you mean " + near + "?"));
    }
  return body;
}

Result<std::string> idempotency_key(const HttpRequest& request) {
  constexpr std::size_t kIdempotencyKeyMax = 128;
  const auto key = request["Idempotency-Key"];
  if (key.size() > kIdempotencyKeyMax || std::ranges::any_of(key, [](char c) { return c < '!' || c > '~'; }))
    return fail(Errc::kInvalidArgument, "Idempotency-Key: at most " + std::to_string(kIdempotencyKeyMax) +
                                            " visible ASCII characters");
  return std::string(key.data(), key.size());
}

bool is_public(const HttpRequest& request) { return target_of(request) == "/healthz"; }

Reply answer(Dispatcher& dispatcher, const HttpRequest& request) {
  const auto target = parse_target(target_of(request));
  if (!target) return error_response(target.error(), request);
  auto user = user_of(request);
  if (!user) return error_response(user.error(), request);
  std::string allowed;
  for (const auto& handler : handlers()) {
    auto arguments = match(handler.route.pattern, target->path);
    if (!arguments) continue;
    const bool asked = handler.route.method == request.method() ||
                       (handler.route.method == http::verb::get && request.method() == http::verb::head);
    if (asked)
      if (auto known = check_query(*target, handler.query); !known)
        return error_response(known.error(), request);
    if (asked) return handler.handle({dispatcher, request, *target, std::move(*arguments), std::move(*user)});
    const auto name = http::to_string(handler.route.method);
    allowed += (allowed.empty() ? "" : ", ") + std::string(name.data(), name.size());
    if (handler.route.method == http::verb::get) allowed += ", HEAD";
  }
  const std::string path = clipped(target_of(request), 200);
  if (allowed.empty())
    return error_response(fail(Errc::kNotFound, path + ": no such route", "the routes begin with /v1/"),
                          request);
  if (request.method() == http::verb::options) {
    HttpResponse response{http::status::no_content, request.version()};
    response.set(http::field::allow, allowed + ", OPTIONS");
    response.keep_alive(request.keep_alive());
    return response;
  }
  auto response =
      error_response(proto::error_doc(fail(Errc::kInvalidArgument, path + ": this method is not allowed here",
                                           "use " + allowed)),
                     http::status::method_not_allowed, request);
  response.set(http::field::allow, allowed);
  return response;
}

}  // namespace rtrain::head
