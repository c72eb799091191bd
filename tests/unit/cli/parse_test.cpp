#include "cli/parse.h"
#include "tests/support/catch.h"

namespace parse_test {

using namespace rtrain;
using namespace rtrain::cli;

namespace {

Command good(std::vector<std::string> args) {
  auto command = parse_command(args);
  if (!command) FAIL(command.error().message());
  return *command;
}

std::string bad(std::vector<std::string> args) {
  auto command = parse_command(args);
  REQUIRE(!command.has_value());
  CHECK(command.error().code() == Errc::kInvalidArgument);
  CHECK(exit_of(command.error().code()) == Exit::kUsage);
  return command.error().message();
}

}  // namespace

TEST_CASE("parse: global options stand before or after the verb", "[unit][cli]") {
  for (const auto& args : {std::vector<std::string>{"--head", "a:1", "list", "-o", "json"},
                           {"list", "--head=a:1", "-ojson"},
                           {"-o", "json", "list", "--head", "a:1"}}) {
    const Command command = good(args);
    REQUIRE(command.verb != nullptr);
    CHECK(command.verb->name == "list");
    CHECK(command.args.text("head") == "a:1");
    CHECK(command.args.text("output") == "json");
    CHECK(command.args.positionals.empty());
  }
}

TEST_CASE("parse: letters, switches, values and positionals", "[unit][cli]") {
  const Command command = good({"logs", "-f", "42", "--rank", "1", "-n", "20"});
  CHECK(command.args.has("follow"));
  CHECK(command.args.positionals == std::vector<std::string>{"42"});
  CHECK(command.args.integer("rank", 0, 10).value() == 1);
  CHECK(command.args.integer("tail", 0, 100).value() == 20);
  CHECK(!command.args.integer("attempt", 1, 10).value().has_value());
  CHECK(good({"submit", "-"}).args.positionals == std::vector<std::string>{"-"});
  CHECK(good({"submit", "--", "-odd.json"}).args.positionals == std::vector<std::string>{"-odd.json"});
}

TEST_CASE("parse: --set may be repeated, of other options the last one counts", "[unit][cli]") {
  const Command command =
      good({"run", "--set", "a=1", "job.json", "--set", "b.c=x=y", "-o", "table", "-o", "json"});
  CHECK(command.args.texts("set") == std::vector<std::string>{"a=1", "b.c=x=y"});
  CHECK(command.args.text("output") == "json");
}

TEST_CASE("parse: a prefix of an option is not the option", "[unit][cli]") {
  CHECK(bad({"list", "--out", "json"}).starts_with("unknown option --out"));
  CHECK(bad({"submit", "--foll", "j"}).starts_with("unknown option --foll"));
}

TEST_CASE("parse: the nearest verb or option is offered", "[unit][cli]") {
  CHECK(bad({"sumbit", "j"}) == "unknown verb 'sumbit'; did you mean submit?");
  CHECK(bad({"submit", "--folow", "j"}) == "unknown option --folow; did you mean --follow?");
  CHECK(bad({"frobnicate"}) == "unknown verb 'frobnicate'");
}

TEST_CASE("parse: arguments are counted, values demanded", "[unit][cli]") {
  CHECK(bad({"submit"}) == "rtrain submit: missing argument; usage: rtrain submit JOB.json");
  CHECK(bad({"result", "1", "2"}) == "rtrain result: unexpected argument '2'");
  CHECK(bad({"logs", "1", "--rank"}) == "option --rank needs a value");
  CHECK(bad({"submit", "--wait=yes", "j"}) == "option --wait takes no value");
  CHECK(bad({"run", "--head", "x:1", "j"}).starts_with("unknown option --head"));
}

TEST_CASE("parse: help wins over missing arguments; no verb is no error", "[unit][cli]") {
  CHECK(good({"submit", "--help"}).help);
  CHECK(good({"submit", "-h"}).help);
  CHECK(good({}).verb == nullptr);
  CHECK(good({"--help"}).help);
  CHECK(good({"--version"}).version);
}

TEST_CASE("parse: numbers are checked whole", "[unit][cli]") {
  const Command command = good({"logs", "1", "--rank", "1x", "--tail", "-3"});
  auto rank = command.args.integer("rank", 0, 10);
  REQUIRE(!rank.has_value());
  CHECK(rank.error().message() == "--rank '1x': must be a whole number from 0 to 10");
  CHECK(!command.args.integer("tail", 0, 10).has_value());
  for (const char* text : {"0", "-1", "nan", "inf", "1s", ""}) {
    Arguments args;
    args.values["timeout"] = {text};
    CHECK(!args.seconds("timeout").has_value());
  }
  CHECK(good({"result", "1", "--timeout", "0.5"}).args.seconds("timeout").value() == 0.5);
  CHECK(parse_job_id("42").value() == 42);
  for (const char* text : {"0", "-1", "x", "4 2", "99999999999999999999"})
    CHECK(!parse_job_id(text).has_value());
}

TEST_CASE("parse: prune has limits, --dry-run and a yes", "[unit][cli]") {
  const Command command = good({"prune", "--older-than", "7d", "--keep=100", "--dry-run", "-y"});
  CHECK(command.args.text("older-than") == "7d");
  CHECK(command.args.integer("keep", 0, 1000).value() == 100);
  CHECK(command.args.has("dry-run"));
  CHECK(command.args.has("yes"));
  CHECK(bad({"prune", "42"}) == "rtrain prune: unexpected argument '42'");
  CHECK(bad({"prune", "--older", "7d"}).starts_with("unknown option --older"));
}

TEST_CASE("parse: -o and --color name their choices", "[unit][cli]") {
  const Verb& status = *find_verb("status");
  Arguments args;
  CHECK(output_format(status, args).value() == "table");
  args.values["output"] = {"jsno"};
  auto wrong = output_format(status, args);
  REQUIRE(!wrong.has_value());
  CHECK(wrong.error().message() == "-o 'jsno': must be one of table, json; did you mean json?");
  args.values["color"] = {"alway"};
  CHECK(!colour_choice(args).has_value());
  args.values["color"] = {"never"};
  CHECK(colour_choice(args).value() == ColourChoice::kNever);
}

TEST_CASE("console: colour follows --color, NO_COLOR, CLICOLOR_FORCE, TERM, in this order", "[unit][cli]") {
  std::map<std::string, std::string> env{{"TERM", "xterm"}};
  const Getenv getenv = [&](const char* name) { return env.contains(name) ? env[name].c_str() : nullptr; };
  CHECK(use_colour(ColourChoice::kAuto, true, getenv));
  CHECK(!use_colour(ColourChoice::kAuto, false, getenv));
  env["TERM"] = "dumb";
  CHECK(!use_colour(ColourChoice::kAuto, true, getenv));
  env["CLICOLOR_FORCE"] = "1";
  CHECK(use_colour(ColourChoice::kAuto, false, getenv));
  env["NO_COLOR"] = "1";
  CHECK(!use_colour(ColourChoice::kAuto, true, getenv));
  CHECK(use_colour(ColourChoice::kAlways, false, getenv));
  env.clear();
  env["NO_COLOR"] = "";
  env["TERM"] = "xterm";
  CHECK(use_colour(ColourChoice::kAuto, true, getenv));  // an empty NO_COLOR does not count
}

TEST_CASE("parse: a number with a minus is told from an option") {
  CHECK(bad({"status", "-1"}) == "unknown option -1; a job's id is a positive number");
  CHECK(bad({"cancel", "3", "-12"}).find("; a job's id is a positive number") != std::string::npos);
  CHECK(bad({"list", "-1"}) == "unknown option -1");
}

}  // namespace parse_test
