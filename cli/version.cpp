// rtrain version: of this program, and of the head if one answers.
#include "cli/settings.h"
#include "cli/text.h"

namespace rtrain::cli {

namespace {

Result<int> version(Call& call) {
  proto::Json doc{
      {"version", RTRAIN_VERSION}, {"protocol_version", proto::kProtocolVersion}, {"head", nullptr}};
  std::string head = "no answer";
  if (auto client = client_of(call)) {
    if (auto answer = client->get("/v1/version", std::chrono::milliseconds(200))) {
      if (auto its = as<proto::VersionDoc>(*answer)) {
        doc["head"] = *answer;
        head = its->version + (its->commit.empty() ? "" : " (" + its->commit + ")") + ", protocol " +
               std::to_string(its->protocol_version);
      }
    }
    head += " at " + net::to_string(client->endpoint());
  } else {
    head = client.error().message();
  }
  if (call.json()) {
    call.console.out(proto::dump_json(doc) + "\n");
  } else {
    call.console.out(std::string("rtrain ") + RTRAIN_VERSION + ", protocol " +
                     std::to_string(proto::kProtocolVersion) + "\nhead   " + printable(head, false) + "\n");
  }
  return 0;
}

}  // namespace

Verb version_verb() {
  return {.name = "version",
          .usage = "",
          .summary = "print the version of this program and of the head",
          .description = "A head that does not answer within 200 ms is not an error.",
          .outputs = {"table", "json"},
          .examples = {{"rtrain version", "both versions"}, {"rtrain version -o json", "for a script"}},
          .run = version};
}

}  // namespace rtrain::cli
