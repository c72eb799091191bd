#include "daemon/head/api/http.h"

#include "common/base/clip.h"

#include <algorithm>
#include <charconv>

namespace rtrain::head {
namespace {

Result<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned code = 0;
    const auto digits = text.substr(i + 1, 2);
    const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (digits.size() != 2 || ec != std::errc{} || end != digits.data() + 2)
      return fail(Errc::kInvalidArgument, "bad percent escape in the request's path");
    out += static_cast<char>(code);
    i += 2;
  }
  return out;
}

}  // namespace

Result<Target> parse_target(std::string_view text) {
  if (text.empty() || text[0] != '/' || text.size() > 2048)
    return fail(Errc::kInvalidArgument,
                "the request's path must begin with / and have at most 2048 characters");
  Target target;
  const auto question = text.find('?');
  std::string_view path = text.substr(1, question == std::string_view::npos ? question : question - 1);
  while (!path.empty()) {
    const auto slash = path.find('/');
    auto part = percent_decoded(path.substr(0, slash));
    if (!part) return part.error();
    target.path.push_back(std::move(*part));
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  }
  std::string_view query =
      question == std::string_view::npos ? std::string_view{} : text.substr(question + 1);
  while (!query.empty()) {
    const auto amp = query.find('&');
    const auto pair = query.substr(0, amp);
    const auto equals = pair.find('=');
    auto name = percent_decoded(pair.substr(0, equals));
    auto value =
        percent_decoded(equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1));
    if (!name) return name.error();
    if (!value) return value.error();
    if (!target.query.emplace(*name, std::move(*value)).second)
      return fail(Errc::kInvalidArgument, clipped(*name, 64) + ": this parameter is given twice");
    query = amp == std::string_view::npos ? std::string_view{} : query.substr(amp + 1);
  }
  return target;
}

Result<std::int64_t> query_number(const Target& target, const std::string& name, std::int64_t fallback,
                                  std::int64_t min, std::int64_t max) {
  const auto found = target.query.find(name);
  if (found == target.query.end()) return fallback;
  const auto& text = found->second;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size() && value >= min && value <= max) return value;
  return fail(Errc::kInvalidArgument, name + "=" + clipped(found->second, 64) +
                                          ": expected a whole number from " + std::to_string(min) + " to " +
                                          std::to_string(max));
}

Result<std::optional<std::size_t>> query_choice(const Target& target, const std::string& name,
                                                const std::vector<std::string>& choices) {
  const auto found = target.query.find(name);
  if (found == target.query.end()) return std::optional<std::size_t>();
  const auto choice = std::ranges::find(choices, found->second);
  if (choice != choices.end()) return std::optional(static_cast<std::size_t>(choice - choices.begin()));
  std::string list;
  for (const auto& one : choices) list += (list.empty() ? "" : ", ") + one;
  const auto near = proto::nearest(found->second, choices);
  return fail(Errc::kInvalidArgument, name + "=" + clipped(found->second, 64) + ": must be one of " + list +
                                          (near.empty() ? "" : "; did you mean " + near + "?"));
}

HttpResponse json_response(http::status status, const proto::Json& body, const HttpRequest& request) {
  return text_response(status, proto::dump_json(body) + "\n", request);
}

HttpResponse text_response(http::status status, std::string json, const HttpRequest& request) {
  HttpResponse response{status, request.version()};
  response.set(http::field::content_type, "application/json");
  response.set(http::field::cache_control, "no-store");
  response.keep_alive(request.keep_alive());
  response.body() = std::move(json);
  response.prepare_payload();
  return response;
}

HttpResponse error_response(const Error& error, const HttpRequest& request) {
  return error_response(proto::error_doc(error), static_cast<http::status>(proto::http_status(error.code())),
                        request);
}

HttpResponse error_response(const proto::ErrorDoc& doc, http::status status, const HttpRequest& request) {
  auto response = json_response(status, proto::Json(doc), request);
  if (status == http::status::unauthorized) response.set(http::field::www_authenticate, "Bearer");
  return response;
}

std::string server_sent_event(std::string_view name, const proto::Json& data, std::string_view id) {
  std::string text = "event: ";
  text.append(name).append("\ndata: ").append(proto::dump_json(data)).append("\n");
  if (!id.empty()) text.append("id: ").append(id).append("\n");
  return text.append("\n");
}

}  // namespace rtrain::head
