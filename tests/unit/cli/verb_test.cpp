#include "cli/parse.h"
#include "tests/support/catch.h"

#include <fstream>
#include <set>
#include <sstream>

namespace verb_test {

using namespace rtrain;
using namespace rtrain::cli;

namespace {

/// "rtrain logs -f 42" without what the shell takes away: pipes, redirections, assignments.
std::vector<std::string> words_of(std::string command) {
  command = command.substr(command.find("rtrain "));
  command = command.substr(0, command.find_first_of("|<>"));
  std::erase_if(command, [](char c) { return c == ')' || c == '('; });
  std::istringstream in(command);
  std::vector<std::string> words;
  std::string word;
  in >> word;
  while (in >> word && !word.starts_with('$')) words.push_back(word);
  return words;
}

}  // namespace

TEST_CASE("verb: the table has every verb once, with a summary, a function and examples", "[unit][cli]") {
  std::vector<std::string> names;
  for (const auto& verb : verbs()) {
    names.push_back(verb.name);
    INFO(verb.name);
    CHECK(!verb.summary.empty());
    CHECK(verb.run != nullptr);
    CHECK(verb.examples.size() >= 2);
    CHECK(verb.examples.size() <= 4);
    CHECK(find_verb(verb.name) == &verb);
  }
  CHECK(names == std::vector<std::string>{"run",        "submit", "validate", "plan",        "list",
                                          "status",     "logs",   "metrics",  "events",      "result",
                                          "cancel",     "hold",   "release",  "profile",     "debug",
                                          "queue",      "nodes",  "node",     "reservation", "prune",
                                          "checkpoint", "sweep",  "doctor",   "version",     "help"});
}

TEST_CASE("verb: options are documented and neither names nor letters collide", "[unit][cli]") {
  for (const auto& verb : verbs()) {
    std::set<std::string> names;
    std::set<char> letters;
    for (const auto& option : all_options(verb)) {
      INFO(verb.name << " --" << option.name);
      CHECK(!option.help.empty());
      CHECK(names.insert(option.name).second);
      if (option.letter != 0) CHECK(letters.insert(option.letter).second);
      CHECK(help_page(verb, false).find("--" + option.name) != std::string::npos);
    }
  }
}

TEST_CASE("verb: every example parses", "[unit][cli]") {
  for (const auto& verb : verbs()) {
    for (const auto& example : verb.examples) {
      INFO(example.command);
      std::vector<std::string> words = words_of(example.command);
      if (example.command.find("$(rtrain list") != std::string::npos) words.emplace_back("1");
      auto command = parse_command(words);
      CHECK(command.has_value());
      if (command) CHECK(command->verb != nullptr);
    }
  }
}

TEST_CASE("verb: the reference names every verb, option and exit code", "[unit][cli]") {
  std::ifstream file(RTRAIN_SOURCE_DIR "/docs/reference/cli.md");
  const std::string page((std::istreambuf_iterator<char>(file)), {});
  REQUIRE(!page.empty());
  for (const auto& verb : verbs()) {
    INFO(verb.name);
    CHECK(page.find("## rtrain " + verb.name) != std::string::npos);
    for (const auto& option : all_options(verb)) {
      INFO(option.name);
      CHECK(page.find("--" + option.name) != std::string::npos);
    }
  }
  for (const auto& meaning : exit_meanings()) {
    INFO(meaning.code);
    CHECK(page.find("| " + std::to_string(meaning.code) + " | " + std::string(meaning.meaning) + " |") !=
          std::string::npos);
  }
}

TEST_CASE("verb: help pages fit a terminal and list every verb and topic", "[unit][cli]") {
  const std::string page = help_page(false);
  for (const auto& verb : verbs()) CHECK(page.find("  " + verb.name + " ") != std::string::npos);
  for (const auto& topic : help_topics()) {
    CHECK(page.find("rtrain help " + topic) != std::string::npos);
    CHECK(help_topic(topic, false).has_value());
  }
  CHECK(!help_topic("nothing", false).has_value());
  CHECK(page.find('\x1b') == std::string::npos);
}

TEST_CASE("exit_code: each error and each state has its documented code", "[unit][cli]") {
  CHECK(exit_of(Errc::kInvalidArgument) == Exit::kUsage);
  CHECK(exit_of(Errc::kNotFound) == Exit::kNotFound);
  CHECK(exit_of(Errc::kUnavailable) == Exit::kUnreachable);
  CHECK(exit_of(Errc::kUnauthenticated) == Exit::kDenied);
  CHECK(exit_of(Errc::kTimeout) == Exit::kTimeout);
  CHECK(exit_of(Errc::kConflict) == Exit::kConflict);
  CHECK(exit_of(Errc::kUnplaceable) == Exit::kUnplaceable);
  CHECK(exit_of(Errc::kLimit) == Exit::kUnplaceable);
  CHECK(exit_of(Errc::kProtocol) == Exit::kUnreachable);
  CHECK(exit_of(Errc::kIo) == Exit::kFailed);
  CHECK(exit_of(Errc::kInternal) == Exit::kFailed);
  CHECK(exit_of_state("SUCCEEDED") == Exit::kOk);
  CHECK(exit_of_state("FAILED") == Exit::kFailed);
  CHECK(exit_of_state("CANCELLED") == Exit::kCancelled);
  CHECK(exit_of_state("RUNNING") == Exit::kConflict);
  CHECK(exit_of_signal(2) == 130);
  CHECK(exit_of_signal(15) == 143);
}

}  // namespace verb_test
