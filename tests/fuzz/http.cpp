// Requests of the user API: "METHOD TARGET\nBODY", answered by a head without a disk.
#include "tests/fuzz/fuzz.h"

#include "daemon/head/api/routes.h"
#include "tests/unit/daemon/head/fake_agent.h"

#include <algorithm>
#include <memory>

using namespace rtrain;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static std::unique_ptr<test::Cluster> cluster;
  static int asked = 0;
  if (asked++ % 500 == 0) {  // what was submitted must not make each answer slower
    cluster = std::make_unique<test::Cluster>();
    cluster->submit(1);
  }
  const auto text = fuzz::text_of(data, size);
  const auto line = text.substr(0, text.find('\n'));
  const auto blank = std::min(line.find(' '), line.size());
  const auto verb = head::http::string_to_verb(head::beast::string_view(line.data(), blank));
  if (verb == head::http::verb::unknown) return 0;
  const std::string target(line.substr(std::min(blank + 1, line.size())));
  head::HttpRequest request{verb, target, 11};
  request.body() = std::string(text.substr(std::min(line.size() + 1, text.size())));
  const auto reply = head::answer(cluster->dispatcher, request);
  const auto* response = std::get_if<head::HttpResponse>(&reply);
  if (response == nullptr) return 0;
  const auto status = response->result_int();
  require(status != 500, "no request is answered with 500");
  if (status >= 400) {
    require(response->body().size() < 64 * 1024, "an error is short");
    require(proto::read_document<proto::ErrorDoc>(response->body()).has_value(), "and is an Error document");
  } else if (!response->body().empty()) {
    require(proto::parse_json(response->body(), {64u << 20}).has_value(), "an answer is JSON");
  }
  return 0;
}
