// rtrain node: what operators do to a node.
#include "cli/parse.h"
#include "cli/settings.h"
#include "cli/text.h"
#include "common/base/duration.h"
#include "proto/jobspec/scheduling.h"

#include <algorithm>
#include <charconv>
#include <thread>

namespace rtrain::cli {

namespace {

const std::vector<std::string>& actions() {
  static const std::vector<std::string> names = {"cordon", "uncordon", "drain", "label", "return", "forget"};
  return names;
}

/// Options belong to actions: one that would be ignored is refused.
Result<Done> check_options(const Arguments& args, const std::string& action) {
  const std::pair<const char*, std::vector<std::string>> owners[] = {{"reason", {"cordon", "drain"}},
                                                                     {"deadline", {"drain"}},
                                                                     {"wait", {"drain"}},
                                                                     {"timeout", {"drain"}},
                                                                     {"gpu", {"return"}}};
  for (const auto& [option, who] : owners)
    if (args.has(option) && std::ranges::find(who, action) == who.end())
      return fail(Errc::kInvalidArgument, "rtrain node " + action + " has no --" + option,
                  "rtrain help node");
  if (args.has("timeout") && !args.has("wait"))
    return fail(Errc::kInvalidArgument, "--timeout requires --wait", "rtrain help node");
  return ok();
}

/// "rack=r1", "old-": as kubectl has them.
Result<proto::Json> labels_of(std::span<const std::string> words) {
  if (words.empty())
    return fail(Errc::kInvalidArgument, "rtrain node label: name at least one label",
                "KEY=VALUE sets one, KEY- removes it");
  proto::Json labels = proto::Json::object();
  for (const auto& word : words) {
    const auto equals = word.find('=');
    if (equals != std::string::npos)
      labels[word.substr(0, equals)] = word.substr(equals + 1);
    else if (word.ends_with('-'))
      labels[word.substr(0, word.size() - 1)] = nullptr;
    else
      return fail(Errc::kInvalidArgument,
                  "'" + word + "' is not a label: KEY=VALUE sets one, KEY- removes it");
  }
  return proto::Json{{"labels", std::move(labels)}};
}

Result<proto::Json> gpus_of(const Arguments& args) {
  proto::Json gpus = proto::Json::array();
  for (const auto& text : args.texts("gpu")) {
    int gpu = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), gpu);
    if (error != std::errc{} || end != text.data() + text.size() || gpu < 0)
      return fail(Errc::kInvalidArgument, "--gpu '" + text + "': must be the number of a GPU");
    gpus.push_back(gpu);
  }
  return proto::Json{{"gpus", std::move(gpus)}};
}

Result<proto::Json> body_of(const Arguments& args, const std::string& action) {
  if (action == "label") return labels_of(std::span(args.positionals).subspan(2));
  if (args.positionals.size() > 2)
    return fail(Errc::kInvalidArgument,
                "rtrain node " + action + ": unexpected argument '" + args.positionals[2] + "'",
                "rtrain help node");
  if (action == "return") return gpus_of(args);
  proto::Json body = proto::Json::object();
  if (const auto reason = args.text("reason")) body["reason"] = *reason;
  if (const auto text = args.text("deadline")) {
    auto seconds = proto::parse_time_limit(*text);
    if (!seconds) return seconds.error().in("--deadline");
    body["deadline_s"] = *seconds;
  }
  return body;
}

/// A name in a path: what may stand in a URL as it is stays, the rest is escaped.
std::string escaped(const std::string& name) {
  std::string out;
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (const char letter : name) {
    const auto c = static_cast<unsigned char>(letter);
    if (std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_')
      out += static_cast<char>(c);
    else
      out += {'%', kDigits[c >> 4], kDigits[c & 15]};
  }
  return out;
}

Result<proto::NodeDoc> wait_until_drained(const Client& client, proto::NodeDoc node, const std::string& path,
                                          std::optional<double> timeout_s) {
  const auto deadline = timeout_s ? std::chrono::steady_clock::now() + to_milliseconds(*timeout_s)
                                  : std::chrono::steady_clock::time_point::max();
  while (!node.jobs.empty()) {
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Errc::kTimeout,
                  "node " + node.info.name + " still has " + std::to_string(node.jobs.size()) +
                      (node.jobs.size() == 1 ? " job" : " jobs"),
                  "rtrain nodes shows which");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    auto answer = client.get(path);
    if (!answer) return answer.error();
    auto next = as<proto::NodeDoc>(*answer);
    if (!next) return next;
    node = std::move(*next);
  }
  return node;
}

std::string done_words(const std::string& action, const proto::NodeDoc& node) {
  if (action == "label") return "labelled";
  if (action == "forget") return "is forgotten";
  if (action == "return") return "has " + std::to_string(node.gpus_out.size()) + " GPUs out of service now";
  return "is " + node.state + (node.reason.empty() ? "" : ": " + node.reason);
}

Result<int> node(Call& call) {
  const std::string& action = call.args.positionals[0];
  if (std::ranges::find(actions(), action) == actions().end()) {
    const auto near = proto::nearest(action, actions());
    return fail(
        Errc::kInvalidArgument,
        "rtrain node: unknown action '" + action + "'" + (near.empty() ? "" : "; did you mean " + near + "?"),
        "rtrain help node");
  }
  if (auto checked = check_options(call.args, action); !checked) return checked.error();
  auto timeout = call.args.seconds("timeout");
  if (!timeout) return timeout.error();
  auto body = body_of(call.args, action);
  if (!body) return body.error();
  auto client = client_of(call);
  if (!client) return client.error();
  const std::string path = "/v1/nodes/" + escaped(call.args.positionals[1]);
  auto answer = action == "forget" ? client->remove(path) : client->post(path + "/" + action, *body);
  if (!answer) return answer.error();
  auto doc = as<proto::NodeDoc>(*answer);
  if (doc && call.args.has("wait")) doc = wait_until_drained(*client, std::move(*doc), path, *timeout);
  if (!doc) return doc.error();
  if (call.json())
    call.console.out(proto::dump_json(proto::Json(*doc)) + "\n");
  else
    call.console.out("node " + printable(doc->info.name, false) + " " +
                     printable(done_words(action, *doc), false) + "\n");
  return 0;
}

}  // namespace

Verb node_verb() {
  return {.name = "node",
          .usage = "cordon|uncordon|drain|return|forget NODE, label NODE KEY=VALUE|KEY- ...",
          .summary = "take a node out of service and back, label it",
          .description =
              "cordon: no new jobs start there; running jobs continue. drain: the same, and the jobs there "
              "are asked to write a checkpoint and\n"
              "move at once; those that fit nowhere else wait in the queue. uncordon reverts both. return "
              "puts quarantined GPUs back into service.\n"
              "forget takes a node that is lost off the list. Settings survive restarts of the head and of "
              "the node.",
          .positionals_min = 2,
          .positionals_max = -1,
          .outputs = {"table", "json"},
          .options = {{"reason", 0, "TEXT", "cordon, drain: the reason, shown by rtrain nodes"},
                      {"deadline", 0, "TIME", "drain: stop what is left after this long: 10m, 1h30m"},
                      {"wait", 'w', "", "drain: return when nothing is left on the node"},
                      {"timeout", 0, "SECONDS",
                       "with --wait: give up waiting after this long with exit status 6"},
                      {"gpu", 0, "N", "return: this GPU; may be repeated. Without it all"}},
          .examples = {{"rtrain node cordon gpu02 --reason 'new disk'", "no new jobs start there"},
                       {"rtrain node drain gpu02 --deadline 10m --wait", "empty it"},
                       {"rtrain node forget gpu02", "it is lost and will not come back"},
                       {"rtrain node label gpu02 rack=r1 old-", "set one label, take one away"}},
          .run = node};
}

}  // namespace rtrain::cli
