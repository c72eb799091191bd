// HTTP/1.1 on any stream, by Boost.Beast. Types shared by the API server, its routes and its event streams.
#pragma once

#include "common/base/number.h"
#include "common/net/endpoint.h"
#include "proto/api/api.h"

#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <map>
#include <optional>

namespace rtrain::head {

namespace beast = boost::beast;
namespace http = beast::http;
using HttpStream = beast::basic_stream<net::asio::generic::stream_protocol>;
using HttpRequest = http::request<http::string_body>;
using HttpResponse = http::response<http::string_body>;

/// A request target taken apart: "/v1/jobs/7/logs?rank=0" -> path {"v1","jobs","7","logs"}, query
/// {{"rank","0"}}. Percent-decoded.
struct Target {
  std::vector<std::string> path;
  std::map<std::string, std::string> query;
};
/// kInvalidArgument: not an absolute path, a bad percent escape, a parameter twice, or more than 2,048
/// characters.
[[nodiscard]] Result<Target> parse_target(std::string_view text);
/// A whole number from `min` to `max` from the query; `fallback` when absent. kInvalidArgument names the
/// parameter.
[[nodiscard]] Result<std::int64_t> query_number(const Target& target, const std::string& name,
                                                std::int64_t fallback, std::int64_t min,
                                                std::int64_t max = kWholeMax);
/// One of `choices` from the query, as its place among them; nothing when absent. kInvalidArgument names the
/// nearest one.
[[nodiscard]] Result<std::optional<std::size_t>> query_choice(const Target& target, const std::string& name,
                                                              const std::vector<std::string>& choices);

[[nodiscard]] HttpResponse json_response(http::status status, const proto::Json& body,
                                         const HttpRequest& request);
/// The same of JSON that is text already, with a newline at its end.
[[nodiscard]] HttpResponse text_response(http::status status, std::string json, const HttpRequest& request);
[[nodiscard]] HttpResponse error_response(const Error& error, const HttpRequest& request);
[[nodiscard]] HttpResponse error_response(const proto::ErrorDoc& doc, http::status status,
                                          const HttpRequest& request);
/// "event: log\ndata: {...}\nid: metrics=3,attempt=1,1.0=4096\n\n"; without an id line when there is none.
[[nodiscard]] std::string server_sent_event(std::string_view name, const proto::Json& data,
                                            std::string_view id = {});

}  // namespace rtrain::head
