#include "worker/loggers/http_client.h"

#include "common/async/run.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <cctype>
#include <charconv>
#include <optional>
#include <stdexcept>

namespace rtrain::loggers {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using async::run_until;
using boost::system::error_code;

HttpAddress HttpAddress::parse(const std::string& uri) {
  constexpr std::string_view kScheme = "http://";
  if (uri.starts_with("https://"))
    throw std::invalid_argument("\"" + uri +
                                "\" needs TLS, which is not there: run a proxy on this machine that adds it "
                                "(nginx, stunnel), and name its http:// address");
  if (!uri.starts_with(kScheme)) throw std::invalid_argument("\"" + uri + "\", expected http://host:port");
  HttpAddress address;
  auto rest = uri.substr(kScheme.size());
  if (const auto slash = rest.find('/'); slash != std::string::npos) {
    address.base = rest.substr(slash);
    rest.erase(slash);
    while (address.base.ends_with('/')) address.base.pop_back();
  }
  const auto colon = rest.rfind(':');
  const bool has_port = colon != std::string::npos && rest.find(']', colon) == std::string::npos;
  address.host = has_port ? rest.substr(0, colon) : rest;
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  const char* begin = rest.data() + colon + 1;
  const char* end = rest.data() + rest.size();
  if (address.host.empty() ||
      (has_port && (begin == end || std::from_chars(begin, end, address.port).ptr != end)))
    throw std::invalid_argument("\"" + uri + "\", expected http://host:port");
  return address;
}

HttpReply exchange(const HttpAddress& address, const HttpRequest& request,
                   std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const HttpReply late{0, "no answer within " + std::to_string(timeout.count()) + " ms"};
  asio::io_context io;
  error_code error;
  asio::ip::tcp::resolver resolver(io);
  const auto addresses = resolver.resolve(address.host, std::to_string(address.port), error);
  if (error) return {0, "the host name cannot be resolved: " + error.message()};

  asio::ip::tcp::socket socket(io);
  std::optional<error_code> done;
  asio::async_connect(socket, addresses,
                      [&](const error_code& e, const asio::ip::tcp::endpoint&) { done = e; });
  if (!run_until(io, done, deadline)) return late;
  if (*done) return {0, done->message()};

  http::request<http::string_body> message(http::string_to_verb(request.method),
                                           address.base + request.target, 11);
  message.set(http::field::host, address.host + ":" + std::to_string(address.port));
  message.set(http::field::user_agent, "rtrain");
  message.set(http::field::connection, "close");
  if (!request.body.empty()) message.set(http::field::content_type, "application/json");
  for (const auto& [name, value] : request.headers) message.set(name, value);
  message.body() = request.body;
  message.prepare_payload();
  done.reset();
  http::async_write(socket, message, [&](const error_code& e, std::size_t) { done = e; });
  if (!run_until(io, done, deadline)) return late;
  if (*done) return {0, done->message()};

  boost::beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(std::uint64_t{16} << 20);
  done.reset();
  http::async_read(socket, buffer, parser, [&](const error_code& e, std::size_t) { done = e; });
  if (!run_until(io, done, deadline)) return late;
  if (*done) return {0, done->message()};
  return {parser.get().result_int(), std::move(parser.get().body())};
}

std::string percent_encoded(const std::string& text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '~')
      out += c;
    else
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return out;
}

}  // namespace rtrain::loggers
