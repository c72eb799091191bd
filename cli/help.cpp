// rtrain help: pages made from the table of verbs, and a few topics.
#include "cli/parse.h"
#include "cli/text.h"
#include "proto/jobspec/jobspec.h"

#include <algorithm>

namespace rtrain::cli {

namespace {

std::string heading(std::string_view text, bool colour) { return styled(text, Style::kBold, colour) + "\n"; }

std::string padded(std::string text, int columns) {
  text.append(static_cast<std::size_t>(std::max(0, columns - display_width(text))), ' ');
  return text;
}

std::string option_lines(const std::vector<Option>& options) {
  std::vector<std::string> names;
  int widest = 0;
  for (const auto& option : options) {
    std::string name = option.letter != 0 ? std::string("-") + option.letter + ", " : "    ";
    name += "--" + option.name + (option.argument.empty() ? "" : " " + option.argument);
    widest = std::max(widest, display_width(name));
    names.push_back(std::move(name));
  }
  std::string out;
  for (std::size_t i = 0; i < options.size(); ++i)
    out += "  " + padded(names[i], widest + 2) + options[i].help + "\n";
  return out;
}

std::vector<Option> global_options(const Verb* verb) {
  std::vector<Option> out;
  if (verb == nullptr || verb->needs_head) {
    out.push_back(
        {"head", 0, "ENDPOINT",
         "where the head's API is: host, host:port or unix:/path (RTRAIN_HEAD; default 127.0.0.1:7338)"});
    out.push_back({"token-file", 0, "FILE",
                   "file with the head's token, mode 0600 (RTRAIN_TOKEN_FILE; default, for a head on this "
                   "machine, ~/.local/state/rtrain/token)"});
  }
  if (verb == nullptr || !verb->outputs.empty()) {
    std::string formats;
    if (verb != nullptr)
      for (const auto& format : verb->outputs) formats += (formats.empty() ? "" : "|") + format;
    out.push_back({"output", 'o', verb == nullptr ? "table|json|name" : formats,
                   "what to print; json is one line with a stable form"});
  }
  out.push_back({"color", 0, "WHEN", "auto, always or never (NO_COLOR, CLICOLOR_FORCE)"});
  out.push_back({"help", 'h', "", "show help"});
  return out;
}

std::string exit_codes() {
  std::string out;
  for (const auto& item : exit_meanings())
    out += padded("  " + std::to_string(item.code), 7) + std::string(item.meaning) + "\n";
  return out +
         "\nThe exit status or signal of a job's own processes is in `rtrain status ID` and `-o json`; it is "
         "never this program's status.\n";
}

constexpr std::string_view kEnvironment =
    "  RTRAIN_HEAD          where the head's API is, when --head does not say; RTRAIN_API wins "
    "over it, for where RTRAIN_HEAD names the agents' port\n"
    "  RTRAIN_TOKEN_FILE    file with the token, when --token-file does not say\n"
    "  XDG_CONFIG_HOME      rtrain/config.json below it: {\"head\": ENDPOINT, \"token_file\": FILE} (default "
    "~/.config)\n"
    "  XDG_STATE_HOME       rtrain/token below it is the token of your own head, rtrain/run-PID-TIME the "
    "state of `rtrain run` (default ~/.local/state)\n"
    "  NO_COLOR             no colours; CLICOLOR_FORCE=1 colours in a pipe; TERM=dumb no colours and no live "
    "line\n"
    "\nOptions win over variables, variables over config.json.\n";

constexpr std::string_view kOutput =
    "  table    for people: relative times, cut to the terminal's width; colours only on a terminal\n"
    "  json     one line on stdout: the documents of docs/reference/api.md; times are RFC 3339 in UTC\n"
    "  name     ids or names alone, one a line\n"
    "\nData goes to stdout, messages and progress to stderr. With -o json or name the logs of a followed job "
    "go to stderr as well.\n";

struct Topic {
  std::string name, summary;
};
const std::vector<Topic>& topics() {
  static const std::vector<Topic> all = {{"exit-codes", "what the exit status means"},
                                         {"environment", "variables and the config file"},
                                         {"output", "formats and streams"}};
  return all;
}

Result<int> help(Call& call) {
  const bool colour = call.console.out_colour();
  if (call.args.positionals.empty()) {
    call.console.out(help_page(colour));
    return 0;
  }
  const std::string& name = call.args.positionals.front();
  if (const Verb* verb = find_verb(name)) {
    call.console.out(help_page(*verb, colour));
    return 0;
  }
  if (const auto text = help_topic(name, colour)) {
    call.console.out(*text);
    return 0;
  }
  std::vector<std::string> names = help_topics();
  for (const auto& verb : verbs()) names.push_back(verb.name);
  const std::string near = proto::nearest(name, names);
  return fail(
      Errc::kInvalidArgument,
      "no verb and no help topic '" + name + "'" + (near.empty() ? "" : "; did you mean " + near + "?"),
      "rtrain help");
}

}  // namespace

std::vector<Option> all_options(const Verb& verb) {
  std::vector<Option> out = verb.options;
  for (auto& option : global_options(&verb)) out.push_back(std::move(option));
  return out;
}

std::vector<std::string> help_topics() {
  std::vector<std::string> out;
  for (const auto& topic : topics()) out.push_back(topic.name);
  return out;
}

std::optional<std::string> help_topic(std::string_view name, bool colour) {
  if (name == "exit-codes") return heading("Exit status", colour) + exit_codes();
  if (name == "environment") return heading("Environment", colour) + std::string(kEnvironment);
  if (name == "output") return heading("Output", colour) + std::string(kOutput);
  return std::nullopt;
}

std::string help_page(bool colour) {
  std::string out = "rtrain: train with C++ and LibTorch on one machine or a cluster\n\n";
  out += heading("Usage", colour) + "  rtrain VERB [OPTIONS] [ARGUMENTS]\n\n" + heading("Verbs", colour);
  for (const auto& verb : verbs()) out += "  " + padded(verb.name, 13) + verb.summary + "\n";
  out += "\n" + heading("Options of every verb that has use for them", colour) +
         option_lines(global_options(nullptr));
  out += "\n" + heading("Topics", colour);
  for (const auto& topic : topics())
    out += "  " + padded("rtrain help " + topic.name, 26) + topic.summary + "\n";
  out += "\n" + heading("Examples", colour) +
         "  rtrain run job.json               run a job on this machine\n"
         "  rtrain submit job.json            submit it to the head and follow it\n"
         "  rtrain help submit                all about one verb\n";
  return out;
}

std::string help_page(const Verb& verb, bool colour) {
  std::string out = "rtrain " + verb.name + ": " + verb.summary + "\n\n";
  out += heading("Usage", colour) + "  rtrain " + verb.name + " [OPTIONS]" +
         (verb.usage.empty() ? "" : " " + verb.usage) + "\n\n";
  if (!verb.description.empty()) out += verb.description + "\n\n";
  if (!verb.options.empty()) out += heading("Options", colour) + option_lines(verb.options) + "\n";
  out += heading("General options", colour) + option_lines(global_options(&verb)) + "\n";
  out += heading("Examples", colour);
  for (const auto& example : verb.examples) out += "  " + example.command + "\n      " + example.what + "\n";
  return out;
}

Verb help_verb() {
  return {.name = "help",
          .usage = "[VERB | TOPIC]",
          .summary = "show help on a verb or a topic",
          .description = "Topics: exit-codes, environment, output.",
          .positionals_max = 1,
          .needs_head = false,
          .examples = {{"rtrain help", "all verbs"},
                       {"rtrain help submit", "one verb"},
                       {"rtrain help exit-codes", "what the exit status means"}},
          .run = help};
}

}  // namespace rtrain::cli
