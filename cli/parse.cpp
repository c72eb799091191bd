#include "cli/parse.h"

#include "common/base/number.h"
#include "proto/jobspec/jobspec.h"

#include <boost/program_options.hpp>

#include <algorithm>
#include <charconv>

namespace rtrain::cli {

namespace po = boost::program_options;

namespace {

std::string in_quotes(std::string_view text) { return "'" + std::string(text) + "'"; }

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates,
                         std::string_view dashes = "") {
  const std::string near = proto::nearest(word, candidates);
  return near.empty() ? "" : "; did you mean " + std::string(dashes) + near + "?";
}

Error usage_error(std::string message, const Verb* verb) {
  return fail(Errc::kInvalidArgument, std::move(message),
              verb != nullptr ? "rtrain help " + verb->name : std::string("rtrain help"));
}

/// Options that may stand before the verb: name, letter, takes a value.
const std::vector<Option>& leading_options() {
  static const std::vector<Option> options = {{"head", 0, "ENDPOINT", ""},   {"token-file", 0, "FILE", ""},
                                              {"output", 'o', "FORMAT", ""}, {"color", 0, "WHEN", ""},
                                              {"help", 'h', "", ""},         {"version", 0, "", ""}};
  return options;
}

/// Takes the verb out of `args`; the rest keeps its order. Nothing when there is no verb.
std::optional<std::string> take_verb(std::vector<std::string>& args) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& word = args[i];
    if (!word.starts_with('-') || word == "-") {
      std::string verb = word;
      args.erase(args.begin() + static_cast<std::ptrdiff_t>(i));
      return verb;
    }
    for (const auto& option : leading_options()) {
      const bool is_it =
          word == "--" + option.name || (option.letter != 0 && word == std::string("-") + option.letter);
      if (is_it && !option.argument.empty()) ++i;  // its value is the next word
    }
  }
  return std::nullopt;
}

po::options_description describe(const std::vector<Option>& options) {
  po::options_description description;
  for (const auto& option : options) {
    std::string names = option.name;
    if (option.letter != 0) names += std::string(",") + option.letter;
    if (option.argument.empty()) {
      description.add_options()(names.c_str(), "");
    } else {
      description.add_options()(names.c_str(), po::value<std::string>(), "");
    }
  }
  return description;
}

Error option_error(const po::error& problem, const Verb* verb, const std::vector<Option>& options) {
  if (const auto* unknown = dynamic_cast<const po::unknown_option*>(&problem)) {
    std::string word = unknown->get_option_name();
    const std::string shown = word;
    word.erase(0, word.find_first_not_of('-'));
    if (verb != nullptr && verb->usage.find("ID") != std::string::npos &&
        word.find_first_not_of("0123456789") == std::string::npos)
      return usage_error("unknown option " + shown + "; a job's id is a positive number", verb);
    std::vector<std::string> names;
    for (const auto& option : options) names.push_back(option.name);
    return usage_error("unknown option " + shown + did_you_mean(word, names, "--"), verb);
  }
  if (const auto* syntax = dynamic_cast<const po::error_with_option_name*>(&problem)) {
    const std::string name = syntax->get_option_name();
    if (dynamic_cast<const po::invalid_command_line_syntax*>(&problem) != nullptr) {
      const auto kind = static_cast<const po::invalid_command_line_syntax*>(&problem)->kind();
      if (kind == po::invalid_syntax::extra_parameter)
        return usage_error("option " + name + " takes no value", verb);
      return usage_error("option " + name + " needs a value", verb);
    }
  }
  return usage_error(problem.what(), verb);
}

Result<Arguments> parse_options(const std::vector<std::string>& args, const Verb* verb,
                                const std::vector<Option>& options) {
  const po::options_description description = describe(options);
  Arguments out;
  try {
    namespace style = po::command_line_style;
    const auto parsed = po::command_line_parser(args)
                            .options(description)
                            .style(style::unix_style & ~style::allow_guessing)
                            .run();
    for (const auto& option : parsed.options) {
      if (option.string_key.empty()) {
        out.positionals.insert(out.positionals.end(), option.value.begin(), option.value.end());
      } else {
        auto& values = out.values[option.string_key];
        values.insert(values.end(), option.value.begin(), option.value.end());
      }
    }
  } catch (const po::error& problem) {
    return option_error(problem, verb, options);
  }
  return out;
}

}  // namespace

std::optional<std::string> Arguments::text(const std::string& name) const {
  const auto it = values.find(name);
  if (it == values.end() || it->second.empty()) return std::nullopt;
  return it->second.back();
}

std::vector<std::string> Arguments::texts(const std::string& name) const {
  const auto it = values.find(name);
  return it == values.end() ? std::vector<std::string>{} : it->second;
}

Result<std::optional<std::int64_t>> Arguments::integer(const std::string& name, std::int64_t min,
                                                       std::int64_t max) const {
  const auto given = text(name);
  if (!given) return std::optional<std::int64_t>{};
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(given->data(), given->data() + given->size(), value);
  if (error != std::errc{} || end != given->data() + given->size() || value < min || value > max) {
    return fail(Errc::kInvalidArgument, "--" + name + " " + in_quotes(*given) +
                                            ": must be a whole number from " + std::to_string(min) + " to " +
                                            std::to_string(max));
  }
  return std::optional<std::int64_t>{value};
}

Result<std::optional<double>> Arguments::seconds(const std::string& name) const {
  const auto given = text(name);
  if (!given) return std::optional<double>{};
  const auto value = finite_number(*given);
  if (!value || *value <= 0 || *value > 1e8)
    return fail(Errc::kInvalidArgument,
                "--" + name + " " + in_quotes(*given) + ": must be a number of seconds above 0");
  return value;
}

Result<Command> parse_command(const std::vector<std::string>& args) {
  Command command;
  std::vector<std::string> rest = args;
  const auto word = take_verb(rest);
  if (!word) {
    auto parsed = parse_options(rest, nullptr, leading_options());
    if (!parsed) return parsed.error();
    command.args = std::move(*parsed);
    command.help = command.args.has("help");
    command.version = command.args.has("version");
    return command;
  }
  command.verb = find_verb(*word);
  if (command.verb == nullptr) {
    std::vector<std::string> names;
    for (const auto& verb : verbs()) names.push_back(verb.name);
    return usage_error("unknown verb " + in_quotes(*word) + did_you_mean(*word, names), nullptr);
  }
  const Verb& verb = *command.verb;
  auto parsed = parse_options(rest, &verb, all_options(verb));
  if (!parsed) return parsed.error();
  command.args = std::move(*parsed);
  command.help = command.args.has("help");
  if (command.help) return command;
  const int given = static_cast<int>(command.args.positionals.size());
  if (given < verb.positionals_min)
    return usage_error(
        "rtrain " + verb.name + ": missing argument; usage: rtrain " + verb.name + " " + verb.usage, &verb);
  if (verb.positionals_max >= 0 && given > verb.positionals_max) {
    return usage_error(
        "rtrain " + verb.name + ": unexpected argument " +
            in_quotes(command.args.positionals[static_cast<std::size_t>(verb.positionals_max)]),
        &verb);
  }
  return command;
}

Result<std::string> output_format(const Verb& verb, const Arguments& args) {
  const auto given = args.text("output");
  if (verb.outputs.empty()) return std::string("table");
  if (!given) return verb.outputs.front();
  if (std::find(verb.outputs.begin(), verb.outputs.end(), *given) != verb.outputs.end()) return *given;
  std::string choices;
  for (const auto& choice : verb.outputs) choices += (choices.empty() ? "" : ", ") + choice;
  return usage_error(
      "-o " + in_quotes(*given) + ": must be one of " + choices + did_you_mean(*given, verb.outputs), &verb);
}

Result<ColourChoice> colour_choice(const Arguments& args) {
  const std::string given = args.text("color").value_or("auto");
  if (given == "auto") return ColourChoice::kAuto;
  if (given == "always") return ColourChoice::kAlways;
  if (given == "never") return ColourChoice::kNever;
  return fail(Errc::kInvalidArgument, "--color " + in_quotes(given) + ": must be one of auto, always, never" +
                                          did_you_mean(given, {"auto", "always", "never"}));
}

Result<std::int64_t> parse_job_id(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1)
    return fail(Errc::kInvalidArgument,
                in_quotes(text) + " is not a job id: job ids are whole numbers, starting at 1",
                "rtrain list shows the jobs");
  return value;
}

}  // namespace rtrain::cli
