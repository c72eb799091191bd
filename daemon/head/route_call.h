// What the files of routes share: a request on its way to a handler, and the table that each file adds. Private to routes*.cpp.
#pragma once

#include "daemon/head/routes.h"

namespace rtrain::head {

struct RouteCall {
  Dispatcher& dispatcher;
  const HttpRequest& request;
  const Target& target;
  std::vector<std::string> arguments;  ///< what stood at {id}

  [[nodiscard]] HttpResponse json(const proto::Json& body, http::status status = http::status::ok) const { return json_response(status, body, request); }
  [[nodiscard]] HttpResponse error(const Error& error) const { return error_response(error, request); }
};

struct Handler { Route route; Reply (*handle)(const RouteCall&); };

/// Of one resource each, in the file of that name.
[[nodiscard]] std::vector<Handler> job_routes();
[[nodiscard]] std::vector<Handler> node_routes();

}  // namespace rtrain::head
