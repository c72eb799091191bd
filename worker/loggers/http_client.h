// One HTTP request at a time to one server, with a time limit. For loggers' own threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace rtrain::loggers {

/// "http://host:port/base"
struct HttpAddress {
  std::string host;
  std::uint16_t port = 80;
  std::string base;  ///< "" or "/prefix", without a slash at the end
  /// @throws std::invalid_argument says what is wrong with `uri`.
  [[nodiscard]] static HttpAddress parse(const std::string& uri);
};

struct HttpReply {
  unsigned status = 0;  ///< 0: there was no answer
  std::string body;     ///< of no answer: the cause
};

struct HttpRequest {
  std::string method;  ///< "GET", "POST", "PUT"
  std::string target;  ///< "/api/..."
  std::string body{};
  std::map<std::string, std::string> headers{};
};

/// Never throws for what the network does. The resolver has its own time limits.
[[nodiscard]] HttpReply exchange(const HttpAddress& address, const HttpRequest& request,
                                 std::chrono::milliseconds timeout);

[[nodiscard]] std::string percent_encoded(const std::string& text);

}  // namespace rtrain::loggers
